//! What is asked for: found, judged, and kept where it may be.
//!
//! [`Manager::request`] answers for every environment by itself; that one is refused says nothing about
//! another one. What is accepted is in the database when the answer is given, and no sooner.

use data_encoding::HEXLOWER;
use jiff::Timestamp;
use ring::rand::{SecureRandom as _, SystemRandom};

use super::Manager;
use super::landing::no_manifests;
use super::queue::{read_order, target};
use super::recovery;
use super::ruling::{self, Asked, Ground};
use super::watch::{Told, intent_of};
use crate::artifacts;
use crate::model::artifact::Artifact;
use crate::model::delivery::{Actor, Granted, Granting, Order, ReleaseRequest, Selector, State, Verdict};
use crate::model::failure::Result;
use crate::model::found::PastRelease;
use crate::model::intent::Intent;
use crate::model::policy::Outcome;
use crate::model::{Code, Digest, Failure, FileName, pretty};
use crate::store::{Facts, Filter, Judge, Named, NewRelease, Next, Ordered, ReleaseFilter, Row, Ruling, Target};

/// What begins the name of every release.
const PREFIX: &str = "rls-";
/// How far back is looked for what a place had before.
const MOST_BEFORE: usize = 100;

/// What was found for one environment, before anything is judged.
struct Found {
    order: Order,
    deployer: String,
    artifact: Artifact,
    /// Somebody else has put something in its place.
    is_changed: bool,
}

/// Judges what was found, in the transaction that keeps it.
struct Clerk<'a> {
    ground: &'a Ground,
    found: &'a [Found],
    dry_run: bool,
    /// What there is to say of each environment, in their order; nothing, while it has not been judged.
    places: Vec<Option<Granting>>,
}

impl Manager {
    /// Answers a request. Made again under the same name, it is answered as before and nothing else happens.
    pub async fn request(&self, request: &ReleaseRequest, actor: &Actor, name: Option<&str>) -> Result<Granted> {
        let ground = self.ground().await;
        let at = ground.now;
        let (mut found, mut places) = (Vec::new(), Vec::new());
        for environment in &request.environments {
            match self.find(request, environment, actor, at).await {
                Ok(one) => {
                    places.push(None);
                    found.push(one);
                }
                // The database is not a reason to refuse anything.
                Err(failure) if failure.code() == Code::StoreUnavailable => return Err(failure),
                Err(failure) => places.push(Some(refusal(environment, None, &failure))),
            }
        }
        let mut clerk = Clerk { ground: &ground, found: &found, dry_run: request.dry_run, places };
        let targets: Vec<_> = found.iter().map(|found| target(&found.order)).collect();
        let results: Vec<Granting> = if request.dry_run {
            for (number, target) in targets.iter().enumerate() {
                let facts = self.registry().store.facts(target).await?;
                clerk.rule(number, &facts)?;
            }
            clerk.granted()
        } else {
            let sha256 = Digest::of(&pretty(request));
            let named =
                name.map(|name| Named { subject: actor.subject.clone(), name: name.to_owned(), request: sha256 });
            match self.registry().store.order(&targets, named.as_ref(), at, &actor.subject, &mut clerk).await? {
                Ordered::Now(_) => {
                    let granted = clerk.granted();
                    self.tell_refused(request, actor, &granted);
                    granted
                }
                // All of it is as it was, also where nothing could be found any more.
                Ordered::Before(answer) => serde_json::from_str(&answer).map_err(|error| {
                    Failure::new(Code::StoreDamaged, "an answer that is kept cannot be read").because(error)
                })?,
                Ordered::OtherRequest => {
                    return Err(Failure::new(Code::KeyReused, "the idempotency key was used for another request")
                        .hint("use a new key for every request"));
                }
            }
        };
        if results.iter().any(|granting| granting.result == Verdict::Accepted) {
            self.wake();
        }
        Ok(Granted { service: request.service.clone(), results })
    }

    /// Why an artifact may not be released to an environment now, or that it may.
    async fn find(
        &self,
        request: &ReleaseRequest,
        environment: &FileName,
        actor: &Actor,
        at: Timestamp,
    ) -> Result<Found> {
        let environment = self.plan().environment(environment)?;
        let name = &environment.name;
        let mut guess = request.namespace.clone();
        let (artifact, sha256, intent) = match &request.what {
            Selector::Artifact { id } => {
                let (artifact, sha256) = self.artifact(&request.service, id).await?;
                (artifact, sha256, Intent::ReleaseArtifact)
            }
            Selector::Branch { branch } => {
                let (artifact, sha256) = self.latest(&request.service, branch).await?;
                (artifact, sha256, Intent::ReleaseBranch { branch: branch.clone() })
            }
            Selector::Promote { from } => {
                let from = from.as_ref().or(environment.from.first()).ok_or_else(|| {
                    Failure::new(Code::RequestInvalid, format!("nothing is promoted to `{name}` by itself"))
                        .subject(name.as_str())
                        .hint("name the other environment with `--from-env`")
                })?;
                let live =
                    self.live(&request.service, self.plan().environment(from)?.name.clone(), guess.as_ref()).await?;
                if live.has_failed {
                    return Err(Failure::new(
                        Code::ReleaseFailed,
                        format!("'{}' failed in environment '{from}', and is not promoted", live.artifact),
                    )
                    .subject(from.as_str())
                    .hint("release it by its id with `consign release --artifact`, if it is to go on nevertheless"));
                }
                let (artifact, sha256) = self.artifact_there(&request.service, &live.artifact).await?;
                (artifact, sha256, Intent::Promote { from_environment: from.to_string() })
            }
            Selector::Rollback { artifact } => {
                let live = self.live(&request.service, name.clone(), guess.as_ref()).await?;
                // It goes back where it stands, whatever the other artifact says.
                guess = Some(live.namespace.clone());
                let id = self.before(&live, artifact.as_ref()).await?;
                let (artifact, sha256) = self.artifact_there(&request.service, &id).await?;
                (artifact, sha256, Intent::Rollback { previous_artifact_id: live.artifact.to_string() })
            }
        };
        let is_rollback = matches!(intent, Intent::Rollback { .. });
        let intent = if actor.is_automation && !is_rollback { Intent::AutoRelease } else { intent };
        let namespace = guess.or_else(|| artifact.namespace.clone()).unwrap_or_else(|| name.clone());
        let order = Order {
            id: new_id(),
            service: request.service.clone(),
            namespace,
            environment: name.clone(),
            artifact: artifact.id.clone(),
            artifact_sha256: sha256,
            intent,
            actor: actor.clone(),
            override_reason: request.override_reason.clone(),
            previous: None,
            requested_at: at,
        };
        let is_changed = self.is_changed(&order).await?;
        Ok(Found { order, deployer: environment.deployer.clone(), artifact, is_changed })
    }

    /// Counts what was refused, where it was known what is released where: nobody's typing becomes a name to count by.
    fn tell_refused(&self, request: &ReleaseRequest, actor: &Actor, granted: &[Granting]) {
        let refused = granted.iter().filter(|one| one.result == Verdict::Refused && one.artifact.is_some());
        for Granting { environment, .. } in refused {
            let (environment, service) = (environment.as_str(), request.service.as_str());
            self.tell_of(&Told {
                environment,
                service,
                intent: intent_of(request, actor),
                outcome: "refused",
                took: None,
            });
        }
    }

    async fn artifact(&self, service: &FileName, id: &FileName) -> Result<(Artifact, Digest)> {
        let row = self.registry().find(service, id).await?.ok_or_else(|| {
            Failure::new(Code::ArtifactUnknown, format!("artifact '{id}' not found for service '{service}'"))
                .subject(id.as_str())
                .hint("`consign artifact list` shows those that there are")
        })?;
        self.judged(row).await
    }

    /// An artifact whose verdict is by what is believed now.
    async fn judged(&self, row: Row) -> Result<(Artifact, Digest)> {
        let row = self.registry().current(row, self.now()).await?;
        Ok((artifacts::read_pushed(&row.record, row.sha256)?, row.sha256))
    }

    async fn latest(&self, service: &FileName, branch: &str) -> Result<(Artifact, Digest)> {
        let filter = Filter {
            services: Some(vec![service.to_string()]),
            branch: Some(branch.to_owned()),
            most: 1,
            ..Filter::default()
        };
        let row = self.registry().store.artifacts(&filter).await?.pop().ok_or_else(|| {
            Failure::new(
                Code::ArtifactUnknown,
                format!("no artifacts available for service '{service}' and branch '{branch}'"),
            )
            .subject(service.as_str())
        })?;
        self.judged(row).await
    }

    /// What stands in an environment of a service, also where that has failed: in a namespace, or in the only one.
    /// Whoever brought it there counts.
    async fn live(&self, service: &FileName, environment: FileName, namespace: Option<&FileName>) -> Result<Live> {
        let status = self.status(service, namespace).await?;
        let mut live = Vec::new();
        for place in status.places.iter().filter(|place| place.environment == environment) {
            let Some(artifact) = place.artifact() else { continue };
            let artifact = artifact.parse().map_err(|error| {
                Failure::new(
                    Code::ArtifactUnknown,
                    format!("what stands in `{environment}` has an id that cannot be one"),
                )
                .subject(environment.as_str())
                .because(error)
            })?;
            live.push(Live {
                service: service.clone(),
                environment: environment.clone(),
                namespace: place.namespace.clone(),
                artifact,
                has_failed: place.found.is_none()
                    && place.live.as_ref().is_some_and(|live| live.state == State::Failed),
            });
        }
        match (live.pop(), live.is_empty()) {
            (Some(one), true) => Ok(one),
            (None, _) => {
                let unknown = Failure::new(
                    Code::ReleaseUnknown,
                    format!("no release of service '{service}' available in environment '{environment}'"),
                )
                .subject(environment.as_str())
                .hint("are you missing a namespace?");
                // What could not be read may be there.
                let trouble = status.repositories.into_iter().find_map(|repository| repository.trouble);
                Err(trouble.into_iter().fold(unknown, Failure::because))
            }
            (Some(_), false) => Err(Failure::new(
                Code::RequestInvalid,
                format!("service '{service}' is in several namespaces of environment '{environment}'"),
            )
            .subject(environment.as_str())
            .hint("name one with `--namespace`")),
        }
    }

    /// An artifact that stands, or stood, in an environment. The environment may have one that the registry has not.
    async fn artifact_there(&self, service: &FileName, id: &FileName) -> Result<(Artifact, Digest)> {
        self.artifact(service, id).await.map_err(|failure| match failure.code() {
            Code::ArtifactUnknown => Failure::new(
                Code::ArtifactUnknown,
                format!("artifact '{id}' of service '{service}' is in the config repository, but not in the registry"),
            )
            .subject(id.as_str())
            .hint("give it there with `consign artifact import RECORD` and `consign artifact push --payload DIR`"),
            _ => failure,
        })
    }

    /// The artifact that stood in a place before: this one, or the last other one.
    async fn before(&self, live: &Live, wanted: Option<&FileName>) -> Result<FileName> {
        let Live { service, environment, namespace, artifact, .. } = live;
        if let Some(wanted) = wanted {
            let filter = ReleaseFilter {
                services: Some(vec![service.to_string()]),
                environment: Some(environment.to_string()),
                namespace: Some(namespace.to_string()),
                artifact: Some(wanted.to_string()),
                was_pushed: true,
                most: 1,
                ..ReleaseFilter::default()
            };
            if wanted != artifact && !self.releases(&filter).await?.0.is_empty() {
                return Ok(wanted.clone());
            }
        }
        let past = self.past(service, environment, Some(namespace), 0, MOST_BEFORE).await?.releases;
        // What failed there is not what one goes back to, unless it is asked for by name.
        let is_good = |one: &PastRelease| match wanted {
            Some(wanted) => one.artifact == wanted.as_str(),
            None => one.release.as_ref().is_none_or(|release| release.state != State::Failed),
        };
        let mut good = past.iter().filter(|one| is_good(one));
        let found = good.find(|one| one.artifact != artifact.as_str());
        found.and_then(|one| one.artifact.parse().ok()).ok_or_else(|| match wanted {
            Some(wanted) => Failure::new(
                Code::ReleaseUnknown,
                format!("can't do rollback, because the artifact '{wanted}' was not there before"),
            )
            .subject(wanted.as_str()),
            None => {
                Failure::new(Code::ReleaseUnknown, "can't do rollback, because there isn't a release to rollback to")
                    .subject(environment.as_str())
            }
        })
    }

    /// Whether somebody else has changed what this server released to a place, where the same is asked for once more:
    /// then it is not there already. Only people put it back.
    async fn is_changed(&self, order: &Order) -> Result<bool> {
        if order.actor.is_automation {
            return Ok(false);
        }
        let rows = self.registry().store.places(order.service.as_str()).await?;
        let place = target(order);
        let mut is_live = false;
        for (_, row) in rows {
            let kept = read_order(&row)?;
            is_live |= State::parse(&row.state).is_some_and(State::is_live)
                && (kept.environment.as_str(), kept.namespace.as_str()) == (&*place.environment, &*place.namespace)
                && kept.artifact_sha256 == order.artifact_sha256;
        }
        if !is_live {
            return Ok(false);
        }
        let status = self.status(&order.service, Some(&order.namespace)).await?;
        Ok(status.places.iter().any(|place| place.environment == order.environment && place.found.is_some()))
    }
}

/// What stands in a place.
struct Live {
    service: FileName,
    environment: FileName,
    namespace: FileName,
    artifact: FileName,
    has_failed: bool,
}

impl Clerk<'_> {
    /// What was said of the environments so far.
    fn granted(&self) -> Vec<Granting> {
        self.places.iter().flatten().cloned().collect()
    }

    /// Says something of the first environment that nothing was said of yet.
    fn say(&mut self, granting: Granting) {
        if let Some(place) = self.places.iter_mut().find(|place| place.is_none()) {
            *place = Some(granting);
        }
    }

    /// What becomes of an order, without the order itself.
    fn judge(&self, found: &Found, facts: &Facts) -> Result<(Granting, Option<Next>)> {
        let Found { order, artifact, .. } = found;
        let granting = |result| Granting {
            environment: order.environment.clone(),
            artifact: Some(order.artifact.clone()),
            result,
            release: None,
            code: None,
            reason: None,
            hint: None,
            decision: None,
        };
        if artifact.payload.as_ref().is_none_or(|payload| !payload.environments.contains(&order.environment)) {
            let failure = no_manifests(artifact, &order.environment);
            return Ok((refusal(&order.environment, Some(&order.artifact), &failure), None));
        }
        let is_by_itself = order.actor.is_automation && matches!(order.intent, Intent::Rollback { .. });
        if is_by_itself && !recovery::is_settled(order, facts) {
            return Err(recovery::not_settled(order));
        }
        let there = there_or_on_its_way(found, facts)?;
        let up_to_date = |There { release, so_far, .. }| Granting {
            release: Some(release),
            reason: so_far,
            ..granting(Verdict::UpToDate)
        };
        if let Some(there) = there.clone().filter(|there| !there.gives_way) {
            return Ok((up_to_date(there), None));
        }
        let Asked { decision, .. } = ruling::ask(self.ground, order, facts)?;
        // What waits because policies say so is on its way, unless this one may go now.
        if let Some(there) = there
            && !decision.is_allowed()
        {
            return Ok((up_to_date(there), None));
        }
        let is_waiting = ruling::is_approval_all(&decision);
        let reason = (!decision.is_allowed()).then(|| ruling::in_words(&decision));
        let next = |state, reason| Next {
            state,
            code: None,
            reason,
            due_at: self.ground.now,
            decision: Some(ruling::written(&decision)),
            gives_way: decision.outcome == Outcome::Waiting,
        };
        let (result, next) = match decision.outcome {
            Outcome::Allowed if self.dry_run => (Verdict::WouldBeAccepted, None),
            Outcome::Allowed => (Verdict::Accepted, Some(next(State::Queued, None))),
            Outcome::Waiting if is_waiting => (Verdict::NeedsApproval, Some(next(State::Requested, reason.clone()))),
            // Nobody is there to ask again: what goes by itself waits until its time has come.
            Outcome::Waiting if order.actor.is_automation && !ruling::is_held(&decision) => {
                let due_at = ruling::due(&decision, self.ground.now);
                (Verdict::Accepted, Some(Next { due_at, ..next(State::Queued, reason.clone()) }))
            }
            Outcome::Waiting | Outcome::Refused => (Verdict::Refused, None),
        };
        let code = (result == Verdict::Refused).then(|| Code::PolicyRefused.as_str().to_owned());
        Ok((Granting { code, reason, decision: Some(decision), ..granting(result) }, next))
    }
}

impl Judge for Clerk<'_> {
    fn rule(&mut self, number: usize, facts: &Facts) -> Result<Ruling> {
        let Some(found) = self.found.get(number) else { return Ok(Ruling::Pass) };
        let (mut granting, next) = self.judge(found, facts)?;
        let Some(next) = next.filter(|_| !self.dry_run) else {
            self.say(granting);
            return Ok(Ruling::Pass);
        };
        let live = ruling::live_in(facts, &target(&found.order)).map(read_order).transpose()?;
        let order = Order { previous: live.map(|live| live.artifact), ..found.order.clone() };
        granting.release = Some(order.id.clone());
        let note = granting.decision.as_ref().and_then(ruling::over);
        self.say(granting);
        Ok(Ruling::Keep(Box::new(NewRelease {
            id: order.id.clone(),
            deployer: found.deployer.clone(),
            artifact_sha256: order.artifact_sha256,
            order: serde_json::to_string(&order).expect("plain data always serialises"),
            note,
            next,
        })))
    }

    fn answer(&self) -> String {
        serde_json::to_string(&self.granted()).expect("plain data always serialises")
    }
}

/// What a place has already, or will have.
#[derive(Clone)]
struct There {
    release: String,
    /// How far it has come, where it is not there yet.
    so_far: Option<String>,
    /// Policies keep it waiting.
    gives_way: bool,
}

/// The release by which the place has the artifact already, or will have: nothing is to be done then.
fn there_or_on_its_way(Found { order, is_changed, .. }: &Found, facts: &Facts) -> Result<Option<There>> {
    let place: Target = target(order);
    let live = || ruling::live_in(facts, &place).filter(|_| !is_changed);
    let Some(row) = facts.waiting.last().or_else(live) else { return Ok(None) };
    let last = read_order(row)?;
    let is_waiting = State::parse(&row.state).is_some_and(State::is_waiting);
    let why = row.reason.as_ref().map(|reason| format!("; {reason}")).unwrap_or_default();
    let so_far = is_waiting.then(|| format!("it is {}{why}", row.state));
    let there = There { release: last.id, so_far, gives_way: row.gives_way };
    Ok((last.artifact_sha256 == order.artifact_sha256).then_some(there))
}

fn refusal(environment: &FileName, artifact: Option<&FileName>, failure: &Failure) -> Granting {
    Granting {
        environment: environment.clone(),
        artifact: artifact.cloned(),
        result: Verdict::Refused,
        release: None,
        code: Some(failure.code().as_str().to_owned()),
        reason: Some(failure.to_string()),
        hint: failure.way_out().map(str::to_owned),
        decision: None,
    }
}

/// A name that no other release has.
fn new_id() -> String {
    let mut bytes = [0; 10];
    SystemRandom::new().fill(&mut bytes).expect("the system gives random bytes");
    format!("{PREFIX}{}", HEXLOWER.encode(&bytes))
}
