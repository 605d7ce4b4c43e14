"""Repositories that a TUF client has to take or to refuse, made with python-tuf's own classes.

    python3 tuf_scenarios.py DIRECTORY

writes one directory per scenario: `root.json`, which the client is given, and the repository at each
of its steps (`1/`, `2/` ...). `manifest.json` says what has to come of each step. Every document
expires in 2031 unless the scenario says otherwise; the client is told that it is 2030.
"""

import copy
import hashlib
import json
import sys
from datetime import datetime, timezone
from pathlib import Path
from urllib.parse import quote

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from securesystemslib.formats import encode_canonical
from securesystemslib.signer import CryptoSigner, Signature, SSlibKey
from tuf.api.metadata import (
    DelegatedRole, Delegations, Metadata, MetaFile, Root, Snapshot, TargetFile, Targets, Timestamp,
)
from tuf.api.serialization.json import JSONSerializer

LATER = datetime(2031, 1, 1, tzinfo=timezone.utc)
NOW = datetime(2030, 1, 1, tzinfo=timezone.utc)
PAST = datetime(2029, 12, 1, tzinfo=timezone.utc)
ALL = ["root", "targets", "snapshot", "timestamp"]
REST = ["targets", "snapshot", "timestamp"]

INVALID, EXPIRED, ROLLBACK = "catalog_invalid", "catalog_expired", "catalog_rollback"
MISSING, TOO_LARGE, UNKNOWN, DIGEST = "file_missing", "file_too_large", "target_unknown", "digest_mismatch"

OUT = Path(sys.argv[1])
MANIFEST = []
POOL = {"ecdsa": [CryptoSigner.generate_ecdsa() for _ in range(12)]}


def canonical_id(key):
    return hashlib.sha256(encode_canonical(key).encode()).hexdigest()


class Curve:
    """A signer for curves that securesystemslib does not sign with."""

    def __init__(self, curve, algorithm, scheme):
        self.private, self.algorithm = ec.generate_private_key(curve), algorithm
        pem = self.private.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()
        key = {"keytype": "ecdsa", "scheme": scheme, "keyval": {"public": pem}}
        self.public_key = SSlibKey(canonical_id(key), **key)

    def sign(self, payload):
        return Signature(self.public_key.keyid, self.private.sign(payload, ec.ECDSA(self.algorithm)).hex())


class Repository:
    """A repository with one key per role. `publish` signs, `step` writes down what is there."""

    def __init__(self, name, consistent=False, keys=None):
        self.name, self.steps, self.files, self.contents = name, [], {}, {}
        self.pool = list(POOL["ecdsa"])
        self.hashes = False
        self.md = {
            "root": Metadata(Root(expires=LATER, consistent_snapshot=consistent)),
            "targets": Metadata(Targets(expires=LATER)),
            "snapshot": Metadata(Snapshot(expires=LATER)),
            "timestamp": Metadata(Timestamp(expires=LATER)),
        }
        self.signers = {role: [] for role in ALL}
        for role in ALL:
            self.appoint(role, (keys or {}).get(role))
        self.published = set()
        self.publish(*REST, "root")
        self.pinned = self.files["1.root.json"]

    def __getattr__(self, role):
        return self.md[role].signed

    def new_key(self):
        return self.pool.pop()

    def appoint(self, role, signer=None, delegator="root"):
        signer = signer or self.new_key()
        self.md[delegator].signed.add_key(signer.public_key, role)
        self.signers.setdefault(role, []).append(signer)
        return signer

    def rotate(self, role):
        for keyid in list(self.root.roles[role].keyids):
            self.root.revoke_key(keyid, role)
        old, self.signers[role] = self.signers[role], []
        new = self.appoint(role)
        if role == "root":
            self.signers[role] = [new, *old]
        return old

    def delegate(self, name, delegator="targets", paths=("*",), prefixes=None, terminating=False, signer=None):
        """Adds a delegation; the role's own documents are made at the first publication."""
        targets = self.md[delegator].signed
        if targets.delegations is None:
            targets.delegations = Delegations({}, {})
        role = DelegatedRole(name, [], 1, terminating, None if prefixes else list(paths), prefixes)
        targets.delegations.roles[name] = role
        self.appoint(name, signer, delegator)
        self.md.setdefault(name, Metadata(Targets(expires=LATER)))

    def add(self, path, content, role="targets", hashes=("sha256",)):
        self.md[role].signed.targets[path] = TargetFile.from_data(path, content, list(hashes))
        self.contents[path] = content

    def file_name(self, role, version):
        if role == "root":
            return f"{version}.root.json"
        prefix = f"{version}." if self.root.consistent_snapshot and role != "timestamp" else ""
        return f"{prefix}{quote(role, '')}.json"

    def meta_of(self, role, data, version):
        if not self.hashes:
            return MetaFile(version)
        return MetaFile(version, len(data), {"sha256": hashlib.sha256(data).hexdigest()})

    def publish(self, *roles, bump=True):
        """Signs roles in this order, each a version later; what names them is changed, too."""
        for role in roles:
            md = self.md[role]
            if role in self.published and bump:
                md.signed.version += 1
            self.published.add(role)
            md.signatures.clear()
            for signer in self.signers[role]:
                md.sign(signer, append=True)
            self.put(role, md.to_bytes(JSONSerializer(compact=False)))

    def put(self, role, data):
        version = self.md[role].signed.version
        self.files[self.file_name(role, version)] = data
        if role == "snapshot":
            self.timestamp.snapshot_meta = self.meta_of(role, data, version)
        elif role not in ("root", "timestamp"):
            self.snapshot.meta[f"{role}.json"] = self.meta_of(role, data, version)

    def raw(self, role, change, signers=None):
        """Signs what python-tuf's classes would never say."""
        signed = json.loads(self.md[role].to_bytes(JSONSerializer()))["signed"]
        change(signed)
        signatures = []
        for signer in signers or self.signers[role]:
            try:
                message = encode_canonical(signed).encode()
            except Exception:  # it has no canonical form, and will not come as far as that
                message = b""
            signature = signer.sign(message)
            signatures.append({"keyid": signature.keyid, "sig": signature.signature})
        data = json.dumps({"signed": signed, "signatures": signatures}).encode()
        self.put(role, data)
        return data

    def edit(self, role, change, version=None):
        """Changes a document that is signed already."""
        name = self.file_name(role, version or self.md[role].signed.version)
        document = json.loads(self.files[name])
        change(document)
        self.files[name] = json.dumps(document).encode()

    def step(self, code=None, says=(), at=None, finds=(), **versions):
        number = str(len(self.steps) + 1)
        place = OUT / self.name / number
        (place / "tuf").mkdir(parents=True)
        for name, data in self.files.items():
            (place / "tuf" / name).write_bytes(data)
        for path, content in self.contents.items():
            path = place.joinpath(*[part for part in path.split("/") if part not in ("", "..")])
            path.parent.mkdir(parents=True, exist_ok=True)
            if self.root.consistent_snapshot:
                for algorithm in ("sha256", "sha512"):
                    digest = hashlib.new(algorithm, content).hexdigest()
                    path.with_name(f"{digest}.{path.name}").write_bytes(content)
            else:
                path.write_bytes(content)
        self.steps.append({
            "directory": number, "code": code, "says": list(says), "at": at, "versions": versions,
            "finds": [{"path": path, "code": code} for path, code in finds],
        })
        return self

    def end(self):
        (OUT / self.name / "root.json").write_bytes(self.pinned)
        MANIFEST.append({"name": self.name, "steps": self.steps})


def scenario(function):
    """Runs a function that yields or returns nothing and makes repositories of its own."""
    function()
    return function


def one(name, make, code=None, says=(), **options):
    """A scenario of one step in a repository that one function has changed."""
    repository = Repository(name, **options)
    make(repository)
    repository.step(code, says).end()


def two(name, make, code=None, says=(), **versions):
    """The same after the client has seen the repository as it was before."""
    repository = Repository(name)
    repository.publish(*REST)
    repository.step()
    make(repository)
    repository.step(code, says, **versions).end()


# --- Roots, keys, thresholds ---------------------------------------------------------------------

one("basic", lambda r: None)
one("consistent_snapshot", lambda r: None, consistent=True)


@scenario
def keys_are_replaced():
    for role in ALL:
        def make(r, role=role):
            r.rotate(role)
            r.publish(*ALL)
        two(f"rotated_{role}", make, root=2)

        def stale(r, role=role):
            old = r.rotate(role)
            r.signers[role] = old
            r.publish(*ALL)
        two(f"revoked_{role}_key_still_signs", stale, INVALID, ["signed by 0 of the 1 keys"])


@scenario
def an_old_client_follows():
    r = Repository("root_v1_to_v4_by_an_old_client")
    for _ in range(3):
        r.rotate("root")
        r.publish("root")
    r.step(root=4).end()

    r = Repository("a_skipped_root")
    for _ in range(2):
        for role in ALL:
            r.rotate(role)
        r.publish(*ALL)
    del r.files["2.root.json"]
    r.step(INVALID, ["timestamp.json", "signed by 0"]).end()

    r = Repository("a_root_that_jumps")
    r.root.version = 2
    r.publish("root")
    r.files["2.root.json"] = r.files.pop("3.root.json")
    r.step(INVALID, ["`2.root.json` is version 3"]).end()

    r = Repository("a_root_that_stays")
    r.files["2.root.json"] = r.files["1.root.json"]
    r.step(ROLLBACK, ["`2.root.json` is version 1"]).end()

    r = Repository("an_expired_root_in_between")
    r.root.expires = PAST
    r.publish("root")
    r.root.expires = LATER
    r.publish("root")
    r.step(root=3).end()

    r = Repository("an_expired_pinned_root")
    r.root.expires = PAST
    r.publish("root")
    r.pinned = r.files["2.root.json"]
    r.root.expires = LATER
    r.publish("root")
    r.step(root=3).end()

    r = Repository("the_last_root_expired")
    r.step()
    r.root.expires = PAST
    r.publish("root")
    r.step(EXPIRED, ["`root.json` version 2", "2029-12-01"])
    r.root.expires = LATER
    r.publish("root")
    r.step(root=3).end()


def by_new_only(r):
    r.rotate("root")
    del r.signers["root"][1:]
    r.publish("root")


def by_old_only(r):
    r.rotate("root")
    del r.signers["root"][:1]
    r.publish("root")


def raised(r):
    r.root.roles["root"].threshold = 2
    r.appoint("root")
    r.signers["root"].pop()
    r.publish("root")


def lowered(r):
    r.appoint("root")
    r.root.roles["root"].threshold = 2
    r.publish("root")
    r.root.roles["root"].threshold = 1
    r.signers["root"].pop()
    r.publish("root")


two("a_root_not_signed_by_the_old_keys", by_new_only, INVALID, ["`root.json` version 1 asks for"])
two("a_root_not_signed_by_its_own_keys", by_old_only, INVALID, ["`root.json` version 2 asks for"])
two("a_raised_threshold_not_reached", raised, INVALID, ["1 of the 2 keys"])
two("a_lowered_threshold_and_the_old_one_not_reached", lowered, INVALID, ["1 of the 2 keys"])


@scenario
def thresholds():
    r = Repository("two_of_three_sign")
    for role in ALL:
        r.appoint(role)
        r.appoint(role)
        r.root.roles[role].threshold = 2
    r.publish(*ALL)
    r.step(root=2)
    for role in ALL:
        r.signers[role].pop(0)
    r.publish(*ALL)
    r.step(root=3).end()

    for role in REST:
        def make(r, role=role):
            r.appoint(role)
            r.root.roles[role].threshold = 2
            r.signers[role].pop()
            r.publish(*ALL)
        two(f"one_of_two_signs_{role}", make, INVALID, ["1 of the 2 keys"])

    def too_few(r):
        r.root.roles["snapshot"].threshold = 2
        r.publish(*ALL)
    two("a_threshold_that_cannot_be_reached", too_few, INVALID, ["1 of the 2 keys"])

    for name, value in {
        "zero": 0, "negative": -1, "huge": 2**64, "text": "1", "float": 1.0, "true": True, "null": None,
    }.items():
        for role in ("root", "timestamp"):
            def change(signed, value=value, role=role):
                signed["roles"][role]["threshold"] = value
                signed["version"] = 2

            def make(r, change=change):
                r.root.version = 2
                r.raw("root", change)
            two(f"threshold_{name}_for_{role}", make, INVALID, ["2.root.json"])


@scenario
def one_key_counted_twice():
    def same_id(r):
        def change(signed):
            signed["roles"]["timestamp"]["keyids"] *= 2
            signed["roles"]["timestamp"]["threshold"] = 2
        r.root.version = 2
        r.raw("root", change)
        r.publish("timestamp")
    two("one_key_named_twice", same_id, INVALID, ["twice"])

    def respelled(key, r):
        """The same key in another spelling, under the id that belongs to that."""
        signer = r.signers["timestamp"][0]
        other = SSlibKey(canonical_id(key), key["keytype"], key["scheme"], key["keyval"],
                         {name: value for name, value in key.items() if name.startswith("x-")})
        r.root.add_key(other, "timestamp")
        r.root.roles["timestamp"].threshold = 2
        r.signers["timestamp"] = [signer, CryptoSigner(signer._private_key, other)]
        r.publish("root", "timestamp")

    def with_member(r):
        respelled({**r.signers["timestamp"][0].public_key.to_dict(), "x-more": 1}, r)

    def other_pem(r):
        key = copy.deepcopy(r.signers["timestamp"][0].public_key.to_dict())
        key["keyval"]["public"] = key["keyval"]["public"].replace("\n", "\r\n")
        respelled(key, r)

    def other_type(r):
        key = copy.deepcopy(r.signers["timestamp"][0].public_key.to_dict())
        key["keytype"] = "ecdsa-sha2-nistp256"
        respelled(key, r)
    two("one_key_under_two_ids", with_member, INVALID, ["1 of the 2 keys"])
    two("one_key_in_two_spellings", other_pem, INVALID, ["1 of the 2 keys"])
    two("one_key_of_two_types", other_type, INVALID, ["1 of the 2 keys"])

    def two_signatures(r):
        r.root.roles["timestamp"].threshold = 2
        r.publish(*ALL)
        signer = r.signers["timestamp"][0]
        again = signer.sign(encode_canonical(r.timestamp.to_dict()).encode())
        r.edit("timestamp", lambda d: d["signatures"].append({"keyid": again.keyid, "sig": again.signature}))
    two("two_signatures_by_one_key", two_signatures, INVALID, ["two signatures"])

    def made_up_id(r):
        key = r.signers["timestamp"][0]
        r.rotate("timestamp")
        other = copy.deepcopy(key.public_key)
        other.keyid = "ab" * 32
        r.root.revoke_key(r.root.roles["timestamp"].keyids[0], "timestamp")
        r.root.add_key(other, "timestamp")
        r.signers["timestamp"] = [CryptoSigner(key._private_key, other)]
        r.publish(*ALL)
    two("a_key_under_an_id_that_is_not_its_own", made_up_id, INVALID, ["only 0 of its keys can be used"])


@scenario
def keys_of_every_kind():
    kinds = {
        "ed25519": CryptoSigner.generate_ed25519(),
        "rsa_pss": CryptoSigner.generate_rsa(),
        "rsa_pkcs1": CryptoSigner.generate_rsa(scheme="rsa-pkcs1v15-sha256"),
        "p384": Curve(ec.SECP384R1(), hashes.SHA384(), "ecdsa-sha2-nistp384"),
    }
    for name, signer in kinds.items():
        one(f"key_{name}", lambda r: None, keys={"timestamp": signer})
        repository = Repository(f"key_{name}_wrong_signature", keys={"timestamp": signer})
        for signature in repository.md["timestamp"].signatures.values():
            raw = bytearray.fromhex(signature.signature)
            raw[-1] ^= 1
            signature.signature = raw.hex()
        repository.put("timestamp", repository.md["timestamp"].to_bytes())
        repository.step(INVALID, ["signed by 0 of the 1 keys"]).end()
    small = CryptoSigner(rsa.generate_private_key(65537, 1024))
    one("key_rsa_1024", lambda r: None, INVALID, ["signed by 0"], keys={"timestamp": small})
    signer = Curve(ec.SECP521R1(), hashes.SHA512(), "ecdsa-sha2-nistp521")
    one("key_p521", lambda r: None, INVALID, ["only 0 of its keys can be used"], keys={"timestamp": signer})

    def foreign(r):
        def change(signed):
            for key in ({"keytype": "sphincs", "scheme": "x", "keyval": {"public": "00"}},
                        {"keytype": "oidc", "scheme": "y", "keyval": {"identity": "a", "issuer": "b"}},
                        {"keytype": "kms"}, 7):
                keyid = canonical_id(key)
                signed["keys"][keyid] = key
                signed["roles"]["timestamp"]["keyids"].append(keyid)
            signed["version"] = 2
        r.root.version = 2
        r.raw("root", change)
    two("keys_of_unknown_kinds_beside_a_known_one", foreign, root=2)


# --- Rollback and fast-forward -------------------------------------------------------------------

def again(r, role, version, *roles):
    r.md[role].signed.version = version - 1
    r.publish(role, *roles)


two("timestamp_rollback", lambda r: again(r, "timestamp", 1), ROLLBACK, ["`timestamp.json` is version 1", "version 2"])
two("snapshot_rollback", lambda r: again(r, "snapshot", 1, "timestamp"), ROLLBACK, ["`snapshot.json` is version 1"])
two("targets_rollback", lambda r: again(r, "targets", 1, "snapshot", "timestamp"), ROLLBACK, ["`targets.json` is version 1"])


@scenario
def rollbacks():
    r = Repository("snapshot_rollback_with_hashes")
    r.hashes = True
    r.publish(*REST)
    r.step()
    again(r, "snapshot", 1, "timestamp")
    r.step(ROLLBACK).end()

    r = Repository("a_role_disappears_from_the_snapshot")
    r.delegate("other")
    r.publish("other", *REST)
    r.step()
    del r.snapshot.meta["other.json"]
    r.publish("snapshot", "timestamp")
    r.step(ROLLBACK, ["does not name \"other.json\" any more"]).end()

    r = Repository("a_delegated_role_rolls_back")
    r.delegate("other")
    r.publish("other", *REST)
    r.publish("other", *REST)
    r.step()
    again(r, "other", 1, "snapshot", "timestamp")
    r.step(ROLLBACK, ["`other.json` is version 1"]).end()

    def same_version(r):
        r.timestamp.snapshot_meta.version = 100
        r.publish("timestamp", bump=False)
    two("a_timestamp_of_the_same_version_says_nothing", same_version, timestamp=2, snapshot=2)

    r = Repository("the_whole_repository_of_yesterday")
    r.publish(*REST)
    yesterday = dict(r.files)
    r.publish(*ALL)
    r.step()
    r.files = yesterday
    r.step(ROLLBACK, ["`timestamp.json` is version 2, and version 3"]).end()

    r = Repository("yesterday_after_a_rotation")
    r.publish(*REST)
    yesterday = dict(r.files)
    r.rotate("timestamp")
    r.publish(*ALL)
    r.step()
    r.files = yesterday
    r.step(INVALID, ["`root.json` version 2 asks for"]).end()

    for role in REST:
        rest = REST[REST.index(role) + 1:]
        r = Repository(f"fast_forward_of_{role}")
        r.md[role].signed.version = 2**62
        r.publish(role, *rest)
        r.step()
        again(r, role, 2, *rest)
        r.step(ROLLBACK, [str(2**62 + 1)])
        keys = {"timestamp": ["timestamp"], "snapshot": ["snapshot", "timestamp"], "targets": ["snapshot"]}[role]
        for key in keys:
            r.rotate(key)
        again(r, role, 2, *rest)
        r.publish("root")
        r.step(**{role: 2})
        again(r, role, 1, *rest)
        r.step(ROLLBACK).end()

    r = Repository("another_key_is_no_rotation")
    r.publish(*REST)
    r.step()
    r.appoint("timestamp")
    r.publish("root")
    again(r, "timestamp", 1)
    r.step(ROLLBACK).end()


# --- Freeze --------------------------------------------------------------------------------------

@scenario
def freezes():
    for role in REST:
        rest = REST[REST.index(role):]
        r = Repository(f"{role}_expired")
        r.step()
        r.md[role].signed.expires = PAST
        r.publish(*rest)
        r.step(EXPIRED, [f"`{role}.json` version 2 expired on 2029-12-01T00:00:00Z"])
        r.step(at="2029-11-01T00:00:00Z", **{role: 2})
        r.md[role].signed.expires = LATER
        r.publish(*rest)
        r.step(**{role: 3}).end()

        def exactly(r, role=role):
            r.md[role].signed.expires = NOW
            r.publish(*REST)
        two(f"{role}_expires_this_very_second", exactly, EXPIRED)

        r = Repository(f"{role}_that_was_kept_expired")
        r.md[role].signed.expires = datetime(2030, 6, 1, tzinfo=timezone.utc)
        r.publish(*rest)
        r.step()
        r.md[role].signed.expires = LATER
        r.publish(*rest)
        r.step(**{role: 3}).end()
    one("everything_is_frozen", lambda r: None)


# --- Mix and match -------------------------------------------------------------------------------

def unlike(named, served, hashes):
    """Signatures differ in length: where lengths are signed, a longer document is not read to its end."""
    return TOO_LARGE if hashes and len(served) > len(named) else INVALID


@scenario
def mixtures():
    for hashes in (False, True):
        suffix = "_with_hashes" if hashes else ""
        for role in ("targets", "snapshot"):
            r = Repository(f"old_{role}_beside_the_new{suffix}")
            r.hashes = hashes
            r.publish(*REST)
            old = r.files[f"{role}.json"]
            r.publish(*REST)
            named, r.files[f"{role}.json"] = r.files[f"{role}.json"], old
            r.step(unlike(named, old, hashes)).end()

            r = Repository(f"new_{role}_beside_the_old{suffix}")
            r.hashes = hashes
            r.publish(*REST)
            old = dict(r.files)
            r.add("more", b"more")
            r.publish(*REST)
            served = r.files[f"{role}.json"]
            r.files = {**old, f"{role}.json": served}
            r.step(unlike(old[f"{role}.json"], served, hashes)).end()

    for role, by in (("targets", "snapshot"), ("snapshot", "timestamp")):
        def meta(r, role=role):
            return r.snapshot.meta["targets.json"] if role == "targets" else r.timestamp.snapshot_meta

        for name, change, code in (
            ("digest", lambda m: m.hashes.update(sha256="0" * 64), INVALID),
            ("digest_of_no_length", lambda m: m.hashes.update(sha256="00"), INVALID),
            ("digest_of_unknown_kind", lambda m: setattr(m, "hashes", {"blake9": "00" * 32}), INVALID),
            ("length_too_small", lambda m: setattr(m, "length", m.length - 1), TOO_LARGE),
            ("length_too_large", lambda m: setattr(m, "length", m.length + 1), INVALID),
            ("version", lambda m: setattr(m, "version", m.version + 1), INVALID),
        ):
            def make(r, meta=meta, change=change, by=by):
                r.hashes = True
                r.publish("targets", "snapshot")
                if by == "snapshot":
                    change(meta(r))
                    r.publish("snapshot", "timestamp")
                else:
                    change(meta(r))
                    r.publish("timestamp")
            two(f"{role}_of_another_{name}", make, code)

        def gone(r, role=role):
            r.publish(*REST)
            del r.files[f"{role}.json"]
        two(f"{role}_missing", gone, MISSING, [f"`{role}.json`, which is not there"])
    two("timestamp_missing", lambda r: r.files.pop("timestamp.json"), "catalog_missing", ["timestamp.json"])

    r = Repository("a_consistent_snapshot_with_hashes", consistent=True)
    r.hashes = True
    r.add("v1/a b", b"content", hashes=("sha256", "sha512"))
    r.publish(*REST)
    r.step(finds=[("v1/a b", None)])
    del r.files["2.targets.json"]
    r.step()
    r.publish(*REST)
    del r.files["3.snapshot.json"]
    r.step(MISSING).end()


# --- Documents that are none ---------------------------------------------------------------------

@scenario
def documents():
    def signed_with(role, change):
        def make(r):
            rest = ALL[ALL.index(role) + 1:] if role != "root" else []
            r.md[role].signed.version += 1
            r.raw(role, change)
            r.publish(*rest)
        return make

    for name, value in {
        "text": "2", "float": 2.0, "exponent": 2e3, "negative": -2, "zero": 0, "null": None, "true": True,
        "list": [2], "too_large": 2**63, "enormous": 10**400,
    }.items():
        for role in ALL:
            two(f"{role}_version_{name}", signed_with(role, lambda s, v=value: s.update(version=v)), INVALID)
    for role in ALL:
        two(f"{role}_without_version", signed_with(role, lambda s: s.pop("version")), INVALID)
        two(f"{role}_without_expiry", signed_with(role, lambda s: s.pop("expires")), INVALID)
        two(f"{role}_of_no_type", signed_with(role, lambda s: s.pop("_type")), INVALID)
        two(f"{role}_of_another_type", signed_with(role, lambda s: s.update(_type="mirrors")), INVALID)
        two(f"{role}_of_specification_2", signed_with(role, lambda s: s.update(spec_version="2.0.0")), INVALID)
        two(f"{role}_of_specification_1_99", signed_with(role, lambda s: s.update(spec_version="1.99.7")))
        two(f"{role}_with_unknown_members",
            signed_with(role, lambda s: s.update({"x-a": {"b": [1, None, "\u00e9\U0001f600"]}, "": True})))
        for name, change in {
            "invalid": lambda data: data[:-2],
            "empty": lambda data: b"",
            "followed": lambda data: data + b"{}",
            "marked": lambda data: b"\xef\xbb\xbf" + data,
            "wide": lambda data: data.decode().encode("utf-16"),
            "broken_text": lambda data: data.replace(b'"_type"', b'"_ty\xffpe"'),
            "deep": lambda data: b"[" * 15_000,
            "list": lambda data: b"[" + data + b"]",
            "doubled_version": lambda data: data.replace(b'"version"', b'"version": 1, "version"'),
            "doubled_signed": lambda data: data.replace(b'"signed"', b'"signed": {}, "signed"', 1),
            "doubled_signatures": lambda data: data.replace(b'"signatures"', b'"signatures": [], "signatures"', 1),
            "doubled_escaped": lambda data: data.replace(b'"version"', b'"ver\\u0073ion": 1, "version"'),
        }.items():
            def make(r, role=role, change=change):
                r.publish(*ALL)
                name = r.file_name(role, r.md[role].signed.version)
                r.files[name] = change(r.files[name])
            two(f"{role}_{name}", make, INVALID)
    for name, value in {
        "fraction": "2031-01-01T00:00:00.5Z", "offset": "2031-01-01T00:00:00+00:00", "no_zone": "2031-01-01T00:00:00",
        "space": "2031-01-01 00:00:00Z", "day": "2031-01-01", "number": 1924992000, "no_day": "2031-02-30T00:00:00Z",
    }.items():
        two(f"expiry_as_{name}", signed_with("timestamp", lambda s, v=value: s.update(expires=v)), INVALID)

    def disguised(r):
        signer = r.signers["timestamp"][0]
        r.root.add_key(signer.public_key, "snapshot")
        r.signers["snapshot"].append(signer)
        r.snapshot.meta = {"snapshot.json": MetaFile(1)}
        r.publish("root", "snapshot")
        r.files["timestamp.json"] = r.files["snapshot.json"]
    two("a_snapshot_in_the_place_of_the_timestamp", disguised, INVALID, ["its type is \"snapshot\""])
    two("a_timestamp_that_names_nothing", signed_with("timestamp", lambda s: s.update(meta={})), INVALID)
    two("a_snapshot_that_names_nothing", signed_with("snapshot", lambda s: s.update(meta={})), INVALID)
    two("a_timestamp_that_is_changed",
        lambda r: (r.publish("timestamp"), r.edit("timestamp", lambda d: d["signed"].update(version=9))), INVALID,
        ["signed by 0 of the 1 keys"])

    def pinned(name, change, code=INVALID):
        r = Repository(name)
        document = json.loads(r.pinned)
        change(document)
        r.pinned = json.dumps(document).encode()
        r.step(code).end()
    pinned("a_pinned_root_without_version", lambda d: d["signed"].pop("version"))
    pinned("a_pinned_root_that_is_not_signed", lambda d: d.update(signatures=[]))
    pinned("a_pinned_root_that_was_changed", lambda d: d["signed"]["roles"]["timestamp"].update(threshold=2))
    pinned("a_pinned_root_in_other_spelling", lambda d: None, None)


@scenario
def signatures():
    def more(change):
        def make(r):
            r.publish(*ALL)
            for role in ALL:
                r.edit(role, lambda d: change(d["signatures"]))
        return make
    junk = "30" * 70
    two("signatures_by_unknown_keys", more(lambda s: s.insert(0, {"keyid": "ab" * 32, "sig": junk})))
    two("signatures_with_unknown_members", more(lambda s: s[0].update(method="x")))
    two("an_empty_signature_of_somebody", more(lambda s: s.append({"keyid": "", "sig": ""})))
    two("a_signature_in_capitals", more(lambda s: s[0].update(sig=s[0]["sig"].upper())))
    two("a_signature_that_is_no_hexadecimal", more(lambda s: s[0].update(sig="z" + s[0]["sig"][1:])), INVALID)
    two("a_signature_cut_off", more(lambda s: s[0].update(sig=s[0]["sig"][:-2])), INVALID)
    two("a_signature_with_something_after_it", more(lambda s: s[0].update(sig=s[0]["sig"] + "00")), INVALID)
    two("a_signature_that_is_empty", more(lambda s: s[0].update(sig="")), INVALID)
    two("no_signature", more(lambda s: s.clear()), INVALID)
    two("a_signature_without_a_key", more(lambda s: s.append({"sig": junk})), INVALID)
    two("too_many_signatures",
        more(lambda s: s.extend({"keyid": f"{n:064x}", "sig": junk} for n in range(64))), INVALID, ["more than 64"])

    def half(r):
        r.appoint("timestamp")
        r.publish("root", "timestamp")
        r.edit("timestamp", lambda d: d["signatures"][0].update(sig=junk))
    two("a_wrong_signature_beside_a_good_one", half)


# --- Targets -------------------------------------------------------------------------------------

@scenario
def targets():
    r = Repository("names_of_every_kind")
    names = ["a", "a b", "a!", "a\"b", "it's", "\u00e9", "e\u0301", "\u65e5\u672c/\u8a9e.tar.gz", "v1.0.0+b/a+b.tgz",
             "%2e%2e", "a?b#c", "v1/..hidden", "~", "a&b=c;d", "{x}"]
    for name in names:
        r.add(name, f"content of {name}".encode())
    r.publish(*REST)
    r.step(finds=[(name, None) for name in names] + [("b", UNKNOWN), ("A", UNKNOWN), ("", UNKNOWN)]).end()

    r = Repository("names_that_lead_elsewhere")
    names = ["../a", "/a", "a/../../b", "a//b", "./a", "a/.", "a\\b", "..", "C:a", "a\u0000b", "a\nb", ""]
    for name in names:
        r.targets.targets[name] = TargetFile.from_data(name, b"content", ["sha256"])
    r.publish(*REST)
    r.step(finds=[(name, INVALID) for name in names]).end()

    r = Repository("targets_by_their_digests")
    for name, hashes in {"one": ["sha256"], "other": ["sha512"], "both": ["sha256", "sha512"]}.items():
        r.add(name, name.encode(), hashes=hashes)
        r.add(f"{name}-wrong", name.encode(), hashes=hashes)
    files = r.targets.targets
    files["one-wrong"].hashes["sha256"] = "0" * 64
    files["other-wrong"].hashes["sha512"] = "0" * 128
    files["both-wrong"].hashes["sha512"] = "0" * 128
    for name, change in {
        "unknown": lambda t: setattr(t, "hashes", {"blake9": t.hashes["sha256"]}),
        "known-and-unknown": lambda t: t.hashes.update(blake9="00"),
        "short": lambda t: t.hashes.update(sha256="00"),
        "smaller": lambda t: setattr(t, "length", t.length + 1),
        "larger": lambda t: setattr(t, "length", t.length - 1),
    }.items():
        r.add(name, name.encode())
        change(files[name])
    r.add("absent", b"absent")
    del r.contents["absent"]
    r.publish(*REST)
    r.step(finds=[
        ("one", None), ("other", None), ("both", None), ("known-and-unknown", None), ("one-wrong", DIGEST),
        ("other-wrong", DIGEST), ("both-wrong", DIGEST), ("unknown", INVALID), ("short", INVALID),
        ("smaller", DIGEST), ("larger", TOO_LARGE), ("absent", MISSING),
    ]).end()


@scenario
def delegations():
    r = Repository("delegations")
    r.delegate("a", paths=["*.doc", "*.md", "foo-?.tgz", "[xy].bin"])
    r.delegate("b", paths=["releases/*/*"])
    r.delegate("c", "b", paths=["releases/x/*"])
    r.delegate("d", "b", paths=["releases/y/*.zip"])
    for role, path in [
        ("targets", "top"), ("a", "README.md"), ("a", "releases/README.md"), ("a", "foo-1.tgz"), ("a", "foo-12.tgz"),
        ("a", "x.bin"), ("a", "z.bin"), ("c", "releases/x/v1"), ("d", "releases/y/v1.zip"), ("d", "releases/z/v1.zip"),
    ]:
        r.add(path, path.encode(), role)
    r.publish("a", "b", "c", "d", *REST)
    r.step(finds=[
        ("top", None), ("README.md", None), ("releases/README.md", UNKNOWN), ("foo-1.tgz", None),
        ("foo-12.tgz", UNKNOWN), ("x.bin", None), ("z.bin", UNKNOWN), ("releases/x/v1", None),
        ("releases/y/v1.zip", None), ("releases/z/v1.zip", UNKNOWN), ("README.MD", UNKNOWN),
    ]).end()

    for terminating in (False, True):
        r = Repository(f"a_delegation_that_{'ends' if terminating else 'does_not_end'}_the_search")
        r.delegate("a", terminating=terminating)
        r.delegate("b")
        r.add("x", b"x", "b")
        r.publish("a", "b", *REST)
        r.step(finds=[("x", UNKNOWN if terminating else None)]).end()

    r = Repository("the_first_delegation_wins")
    r.delegate("a")
    r.delegate("b")
    r.add("x", b"by b", "b")
    r.add("x", b"by a", "a")
    r.publish("a", "b", *REST)
    r.step(finds=[("x", None)]).end()

    r = Repository("delegations_by_digests")
    digest = hashlib.sha256(b"x").hexdigest()
    r.delegate("a", prefixes=["0" if digest[0] != "0" else "1"])
    r.delegate("b", prefixes=[digest[:2]])
    r.add("x", b"by a", "a")
    r.add("x", b"by b", "b")
    r.publish("a", "b", *REST)
    r.step(finds=[("x", None)]).end()

    r = Repository("delegations_in_a_circle")
    r.delegate("a")
    r.delegate("b", "a")
    r.delegate("c", "b")
    r.delegate("a", "c", signer=r.signers["a"][0])
    r.publish("a", "b", "c", *REST)
    r.step(finds=[("x", UNKNOWN)]).end()

    r = Repository("delegations_without_an_end")
    names = [f"r{number}" for number in range(40)]
    signer = r.new_key()
    for delegator, name in zip(["targets", *names], names):
        r.delegate(name, delegator, signer=signer)
    r.add("near", b"near", "r20")
    r.add("far", b"far", "r39")
    r.publish(*names, *REST)
    r.step(finds=[("near", None), ("far", UNKNOWN)]).end()

    for name in ["?", "#", "/a", "../a", "..", ".", "a b", "\u00e9", "%2e", "CON", "a:b"]:
        r = Repository(f"delegation_to_{quote(name, '').replace('%', '_').replace('.', 'dot')}")
        r.delegate(name)
        r.add("x", b"x", name)
        r.publish(name, *REST)
        r.step(finds=[("x", None), ("y", UNKNOWN)]).end()

    def broken(name, make, code, at_once=False):
        r = Repository(name)
        r.delegate("a")
        r.add("x", b"x", "a")
        r.publish("a", *REST)
        make(r)
        if at_once:
            r.step(code).end()
        else:
            r.step(finds=[("x", code)]).end()

    def not_named(r):
        del r.snapshot.meta["a.json"]
        r.publish("snapshot", "timestamp")

    def by_another(r):
        r.signers["a"] = [r.new_key()]
        r.publish("a", "snapshot", "timestamp")

    def expired(r):
        r.a.expires = PAST
        r.publish("a", "snapshot", "timestamp")

    def older(r):
        old = r.files["a.json"]
        r.publish("a", "snapshot", "timestamp")
        r.files["a.json"] = old

    def no_threshold(r):
        def change(signed):
            signed["delegations"]["roles"][0]["threshold"] = 0
        r.raw("targets", change)
        r.publish("snapshot", "timestamp")

    def renamed(name, double=False, both=False):
        def change(signed):
            role = signed["delegations"]["roles"][0]
            role["name"] = name
            if double:
                signed["delegations"]["roles"].append(role)
            if both:
                role["path_hash_prefixes"] = ["00"]

        def make(r):
            r.raw("targets", change)
            r.publish("snapshot", "timestamp")
        return make

    broken("a_delegation_that_the_snapshot_does_not_name", not_named, INVALID)
    broken("a_delegation_signed_by_another_key", by_another, INVALID)
    broken("a_delegation_that_expired", expired, EXPIRED)
    broken("a_delegation_of_another_version", older, INVALID)
    broken("a_delegation_that_is_missing", lambda r: r.files.pop("a.json"), MISSING)
    broken("a_delegation_with_threshold_0", no_threshold, INVALID, True)
    broken("a_delegation_to_targets", renamed("targets"), INVALID, True)
    broken("a_delegation_to_root", renamed("root"), INVALID, True)
    broken("two_delegations_to_one_name", renamed("a", double=True), INVALID, True)
    broken("a_delegation_by_paths_and_digests", renamed("a", both=True), INVALID, True)

    r = Repository("one_role_of_two_delegators")
    r.delegate("a", paths=["a/*"])
    r.delegate("b", paths=["b/*"])
    r.delegate("release", "a", paths=["a/*"])
    r.delegate("release", "b", paths=["b/*"])
    del r.signers["release"][1]
    r.add("a/x", b"good", "release")
    r.add("b/x", b"bad", "release")
    r.publish("release", "a", "b", *REST)
    r.step(finds=[("a/x", None), ("b/x", INVALID)]).end()


(OUT / "manifest.json").write_text(json.dumps(MANIFEST))
