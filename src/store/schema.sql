-- One schema for both databases: texts and 64-bit integers only, times in microseconds since 1970,
-- digests as hexadecimal digits, documents as the JSON that they are.

CREATE TABLE artifact (
    sequence BIGINT NOT NULL PRIMARY KEY,
    service TEXT NOT NULL,
    id TEXT NOT NULL,
    branch TEXT,
    event TEXT NOT NULL,
    sha TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    pushed_by TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    record TEXT NOT NULL,
    -- What came of verifying its bundle, and the digest of what was believed then: under another belief it is none.
    verdict TEXT NOT NULL,
    policy TEXT NOT NULL,
    summary TEXT,
    UNIQUE (service, id)
);
-- Every question but that of a time has an index that ends with the order of the answer, so that a page costs the same
-- however many artifacts there are.
CREATE INDEX artifact_of_service ON artifact (service, sequence);
CREATE INDEX artifact_of_service_branch ON artifact (service, branch, sequence);
CREATE INDEX artifact_of_service_event ON artifact (service, event, sequence);
CREATE INDEX artifact_of_branch ON artifact (branch, sequence);
CREATE INDEX artifact_of_event ON artifact (event, sequence);
CREATE INDEX artifact_of_id ON artifact (id, sequence);
CREATE INDEX artifact_of_sha ON artifact (sha, sequence);

CREATE TABLE artifact_blob (
    sequence BIGINT NOT NULL REFERENCES artifact (sequence),
    name TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    size_bytes BIGINT NOT NULL,
    PRIMARY KEY (sequence, name)
);
CREATE INDEX artifact_blob_of_digest ON artifact_blob (sha256);

CREATE TABLE outcome (
    sequence BIGINT NOT NULL PRIMARY KEY REFERENCES artifact (sequence),
    outcome TEXT NOT NULL,
    note TEXT,
    reported_at BIGINT NOT NULL,
    reported_by TEXT NOT NULL
);

CREATE TABLE idempotency (
    subject TEXT NOT NULL,
    name TEXT NOT NULL,
    request TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (subject, name)
);

CREATE TABLE token (
    id TEXT NOT NULL PRIMARY KEY,
    sha256 TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    grants TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT,
    revoked_at BIGINT,
    last_used_at BIGINT
);

CREATE TABLE audit_leaf (
    number BIGINT NOT NULL PRIMARY KEY,
    leaf TEXT NOT NULL
);
CREATE TABLE audit_node (
    level BIGINT NOT NULL,
    number BIGINT NOT NULL,
    hash TEXT NOT NULL,
    PRIMARY KEY (level, number)
);
-- One row: the log's size and the roots of the whole trees that it is made of. Whoever writes takes
-- its lock first, so that changes have one order.
CREATE TABLE audit_head (
    one BIGINT NOT NULL PRIMARY KEY CHECK (one = 1),
    size BIGINT NOT NULL,
    roots TEXT NOT NULL
);
INSERT INTO audit_head (one, size, roots) VALUES (1, 0, '');

-- What goes where. Rows are never deleted; the state of one changes, and every state that it had is a step.
CREATE TABLE release (
    sequence BIGINT NOT NULL PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    service TEXT NOT NULL,
    namespace TEXT NOT NULL,
    environment TEXT NOT NULL,
    deployer TEXT NOT NULL,
    artifact TEXT NOT NULL,
    document TEXT NOT NULL,
    decision TEXT NOT NULL,
    state TEXT NOT NULL,
    code TEXT,
    reason TEXT,
    commit_id TEXT,
    due_at BIGINT NOT NULL,
    attempts BIGINT NOT NULL,
    pushed_at BIGINT,
    ended_at BIGINT,
    -- Whether it waits because policies say so: then what was asked for later in its place does not wait for it.
    gives_way BIGINT NOT NULL
);
CREATE INDEX release_in_turn ON release (deployer, state, due_at, sequence);
CREATE INDEX release_of_place ON release (service, namespace, environment, sequence);
CREATE INDEX release_of_environment ON release (environment, sequence);
CREATE INDEX release_of_artifact ON release (service, artifact);
CREATE INDEX release_of_commit ON release (commit_id);
CREATE INDEX release_of_state ON release (service, state, sequence);

CREATE TABLE release_step (
    release BIGINT NOT NULL REFERENCES release (sequence),
    number BIGINT NOT NULL,
    state TEXT NOT NULL,
    at BIGINT NOT NULL,
    note TEXT,
    PRIMARY KEY (release, number)
);
CREATE INDEX release_step_of_time ON release_step (at);

-- What else is written into environments, in its turn: what goes with its branch, and copies of policies. A rollback is
-- one until it has become a release. Whatever causes one causes no second one.
CREATE TABLE errand (
    cause TEXT NOT NULL PRIMARY KEY,
    sequence BIGINT NOT NULL,
    kind TEXT NOT NULL,
    deployer TEXT NOT NULL,
    service TEXT NOT NULL,
    namespace TEXT NOT NULL,
    environment TEXT NOT NULL,
    subject TEXT NOT NULL,
    branch TEXT NOT NULL,
    due_at BIGINT NOT NULL,
    attempts BIGINT NOT NULL,
    done_at BIGINT
);
CREATE INDEX errand_that_waits ON errand (service, namespace, environment, sequence) WHERE done_at IS NULL;

-- What was asked for under a name of the caller's own, and what was answered.
CREATE TABLE release_request (
    subject TEXT NOT NULL,
    name TEXT NOT NULL,
    request TEXT NOT NULL,
    answer TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (subject, name)
);

-- The policies of a service, as one document.
CREATE TABLE policy_set (
    service TEXT NOT NULL PRIMARY KEY,
    document TEXT NOT NULL,
    changed_at BIGINT NOT NULL
);

CREATE TABLE hold (
    service TEXT NOT NULL,
    namespace TEXT NOT NULL,
    environment TEXT NOT NULL,
    candidate TEXT,
    reason TEXT NOT NULL,
    set_at BIGINT NOT NULL,
    set_by TEXT NOT NULL,
    PRIMARY KEY (service, namespace, environment)
);

CREATE TABLE approval (
    sequence BIGINT NOT NULL PRIMARY KEY,
    service TEXT NOT NULL,
    environment TEXT NOT NULL,
    artifact_sha256 TEXT NOT NULL,
    subject TEXT NOT NULL,
    voter TEXT NOT NULL,
    is_approval BIGINT NOT NULL,
    comment TEXT,
    given_at BIGINT NOT NULL
);
CREATE INDEX approval_of_artifact ON approval (service, environment, artifact_sha256, sequence);

-- Who does what only one may do at a time, and until when if nothing is heard of them.
CREATE TABLE lease (
    name TEXT NOT NULL PRIMARY KEY,
    owner TEXT NOT NULL,
    until BIGINT NOT NULL
);

-- How far somebody has read.
CREATE TABLE bookmark (
    name TEXT NOT NULL PRIMARY KEY,
    position BIGINT NOT NULL
);
-- What others have told. The number is that of the line in the audit log. A delivery counts once, by its name and by
-- what it says, because a name is not part of what was signed.
CREATE TABLE event (
    sequence BIGINT NOT NULL PRIMARY KEY,
    source TEXT NOT NULL,
    delivery TEXT,
    sha256 TEXT,
    kind TEXT NOT NULL,
    service TEXT,
    payload TEXT NOT NULL,
    received_at BIGINT NOT NULL,
    handled_at BIGINT,
    UNIQUE (source, delivery),
    UNIQUE (source, sha256)
);
CREATE INDEX event_that_waits ON event (sequence) WHERE handled_at IS NULL;

-- What must stay, whatever the rules of retention say.
CREATE TABLE pin (
    service TEXT NOT NULL,
    id TEXT NOT NULL,
    note TEXT,
    pinned_at BIGINT NOT NULL,
    pinned_by TEXT NOT NULL,
    PRIMARY KEY (service, id)
);
-- What was removed by rule: its id never stands for anything else.
CREATE TABLE pruned (
    service TEXT NOT NULL,
    id TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    pruned_at BIGINT NOT NULL,
    PRIMARY KEY (service, id)
);

-- Blobs that no artifact names, as far as anything is known of them: since when somebody counted on them last, and
-- whether they are being removed.
CREATE TABLE orphan (
    sha256 TEXT NOT NULL PRIMARY KEY,
    since BIGINT NOT NULL,
    condemned BIGINT NOT NULL
);
-- One row: how often blobs were condemned. A push that finds another number than it began with looks again.
CREATE TABLE sweep (
    one BIGINT NOT NULL PRIMARY KEY CHECK (one = 1),
    number BIGINT NOT NULL
);
INSERT INTO sweep (one, number) VALUES (1, 0);

-- Every artifact that something needs. Whatever comes to need artifacts is added here, and nothing else has to know.
CREATE VIEW artifact_in_use AS
    SELECT service, id FROM pin
    UNION SELECT service, artifact FROM release
        WHERE state IN ('requested', 'queued', 'committing', 'pushed', 'applying', 'healthy')
    UNION SELECT service, candidate FROM hold WHERE candidate IS NOT NULL;
