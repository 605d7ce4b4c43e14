//! What is wished for: found, judged, and kept where it may be.
//!
//! [`Manager::wish`] answers for every environment by itself; that one is refused says nothing about
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
use crate::model::delivery::{Actor, Granted, Granting, Order, Release, Selector, State, Verdict, Wish};
use crate::model::failure::Result;
use crate::model::intent::Intent;
use crate::model::policy::Outcome;
use crate::model::{Code, Digest, Failure, FileName, pretty};
use crate::store::{Facts, Filter, Judge, Named, NewRelease, Next, Ordered, ReleaseFilter, Row, Ruling, Target};

/// What begins the name of every release.
const PREFIX: &str = "rls-";
/// How far back is looked for what a place had before.
const MOST_BEFORE: u32 = 100;

/// What was found for one environment, before anything is judged.
struct Found {
    order: Order,
    deployer: String,
    artifact: Artifact,
}

/// The release by which a place has an artifact already, or will have.
struct There {
    id: String,
    /// Whether policies keep it waiting.
    gives_way: bool,
    /// How far it has come, where it is not there yet.
    so_far: Option<String>,
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
    /// Answers a wish. Made again under the same name, it is answered as before and nothing else happens.
    pub async fn wish(&self, wish: &Wish, actor: &Actor, name: Option<&str>) -> Result<Granted> {
        let ground = self.ground().await;
        let at = ground.now;
        let (mut found, mut places) = (Vec::new(), Vec::new());
        for environment in &wish.environments {
            match self.find(wish, environment, actor, at).await {
                Ok(one) => {
                    places.push(None);
                    found.push(one);
                }
                // The database is not a reason to refuse anything.
                Err(failure) if failure.code() == Code::StoreUnavailable => return Err(failure),
                Err(failure) => places.push(Some(refusal(environment, None, &failure))),
            }
        }
        let mut clerk = Clerk { ground: &ground, found: &found, dry_run: wish.dry_run, places };
        let targets: Vec<_> = found.iter().map(|found| target(&found.order)).collect();
        let results: Vec<Granting> = if wish.dry_run {
            for (number, target) in targets.iter().enumerate() {
                let facts = self.registry().store.facts(target).await?;
                clerk.rule(number, &facts)?;
            }
            clerk.granted()
        } else {
            let request = Digest::of(&pretty(wish));
            let named = name.map(|name| Named { subject: actor.subject.clone(), name: name.to_owned(), request });
            match self.registry().store.order(&targets, named.as_ref(), at, &actor.subject, &mut clerk).await? {
                Ordered::Now(_) => {
                    let granted = clerk.granted();
                    self.tell_refused(wish, actor, &granted);
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
        Ok(Granted { service: wish.service.clone(), results })
    }

    /// Why an artifact may not be released to an environment now, or that it may.
    async fn find(&self, wish: &Wish, environment: &FileName, actor: &Actor, at: Timestamp) -> Result<Found> {
        let environment = self.plan().environment(environment)?;
        let name = &environment.name;
        let guess = wish.namespace.clone();
        let (artifact, sha256, intent) = match &wish.what {
            Selector::Artifact { id } => {
                let (artifact, sha256) = self.artifact(&wish.service, id).await?;
                (artifact, sha256, Intent::ReleaseArtifact)
            }
            Selector::Branch { branch } => {
                let (artifact, sha256) = self.latest(&wish.service, branch).await?;
                (artifact, sha256, Intent::ReleaseBranch { branch: branch.clone() })
            }
            Selector::Promote { from } => {
                let from = from.as_ref().or(environment.from.first()).ok_or_else(|| {
                    Failure::new(Code::RequestInvalid, format!("nothing is promoted to `{name}` by itself"))
                        .subject(name.as_str())
                        .hint("name the other environment with `--from-env`")
                })?;
                let live =
                    self.live(&wish.service, self.plan().environment(from)?.name.clone(), guess.as_ref()).await?;
                if live.state == State::Failed {
                    return Err(Failure::new(
                        Code::ReleaseFailed,
                        format!("'{}' failed in environment '{from}', and is not promoted", live.order.artifact),
                    )
                    .subject(from.as_str())
                    .hint("release it by its id with `consign release --artifact`, if it is to go on nevertheless"));
                }
                let (artifact, sha256) = self.artifact(&wish.service, &live.order.artifact).await?;
                (artifact, sha256, Intent::Promote { from_environment: from.to_string() })
            }
            Selector::Rollback { artifact } => {
                let live = self.live(&wish.service, name.clone(), guess.as_ref()).await?;
                let id = self.before(&live, artifact.as_ref()).await?;
                let (artifact, sha256) = self.artifact(&wish.service, &id).await?;
                (artifact, sha256, Intent::Rollback { previous_artifact_id: live.order.artifact.to_string() })
            }
        };
        let is_rollback = matches!(intent, Intent::Rollback { .. });
        let intent = if actor.is_automation && !is_rollback { Intent::AutoRelease } else { intent };
        let namespace = guess.or_else(|| artifact.namespace.clone()).unwrap_or_else(|| name.clone());
        Ok(Found {
            order: Order {
                id: new_id(),
                service: wish.service.clone(),
                namespace,
                environment: name.clone(),
                artifact: artifact.id.clone(),
                artifact_sha256: sha256,
                intent,
                actor: actor.clone(),
                override_reason: wish.override_reason.clone(),
                previous: None,
                requested_at: at,
            },
            deployer: environment.deployer.clone(),
            artifact,
        })
    }

    /// Counts what was refused, where it was known what is released where: nobody's typing becomes a name to count by.
    fn tell_refused(&self, wish: &Wish, actor: &Actor, granted: &[Granting]) {
        let refused = granted.iter().filter(|one| one.result == Verdict::Refused && one.artifact.is_some());
        for Granting { environment, .. } in refused {
            let (environment, service) = (environment.as_str(), wish.service.as_str());
            self.tell_of(&Told {
                environment,
                service,
                intent: intent_of(wish, actor),
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
        Ok((artifacts::read(&row)?, row.sha256))
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

    /// What a service has in an environment, also where that has failed: in a namespace, or in the only one.
    async fn live(&self, service: &FileName, environment: FileName, namespace: Option<&FileName>) -> Result<Release> {
        let status = self.status(service, namespace).await?;
        let mut live: Vec<_> = status
            .places
            .into_iter()
            .filter(|place| place.environment == environment)
            .filter_map(|place| place.live)
            .collect();
        match (live.pop(), live.is_empty()) {
            (Some(one), true) => Ok(one),
            (None, _) => Err(Failure::new(
                Code::ReleaseUnknown,
                format!("no release of service '{service}' available in environment '{environment}'"),
            )
            .subject(environment.as_str())
            .hint("are you missing a namespace?")),
            (Some(_), false) => Err(Failure::new(
                Code::RequestInvalid,
                format!("service '{service}' is in several namespaces of environment '{environment}'"),
            )
            .subject(environment.as_str())
            .hint("name one with `--namespace`")),
        }
    }

    /// The artifact that was live in the place of a release before: this one, or the last other one.
    async fn before(&self, live: &Release, wanted: Option<&FileName>) -> Result<FileName> {
        let filter = ReleaseFilter {
            services: Some(vec![live.order.service.to_string()]),
            environment: Some(live.order.environment.to_string()),
            namespace: Some(live.order.namespace.to_string()),
            artifact: wanted.map(ToString::to_string),
            was_pushed: true,
            most: MOST_BEFORE,
            ..ReleaseFilter::default()
        };
        let (before, _) = self.releases(&filter).await?;
        // What failed there is not what one goes back to, unless it is asked for by name.
        let mut good = before.into_iter().filter(|release| wanted.is_some() || release.state != State::Failed);
        let found = good.find(|release| release.order.artifact != live.order.artifact);
        found.map(|release| release.order.artifact).ok_or_else(|| match wanted {
            Some(wanted) => Failure::new(
                Code::ReleaseUnknown,
                format!("can't do rollback, because the artifact '{wanted}' was not there before"),
            )
            .subject(wanted.as_str()),
            None => {
                Failure::new(Code::ReleaseUnknown, "can't do rollback, because there isn't a release to rollback to")
                    .subject(live.order.environment.as_str())
            }
        })
    }
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
        let mut there = there_or_on_its_way(order, facts)?;
        let up_to_date =
            |there: There| Granting { release: Some(there.id), reason: there.so_far, ..granting(Verdict::UpToDate) };
        if let Some(there) = there.take_if(|there| !there.gives_way) {
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

/// The release by which the place has the artifact already, or will have.
fn there_or_on_its_way(order: &Order, facts: &Facts) -> Result<Option<There>> {
    let place: Target = target(order);
    let Some(row) = facts.waiting.last().or_else(|| ruling::live_in(facts, &place)) else { return Ok(None) };
    let last = read_order(row)?;
    let is_waiting = State::parse(&row.state).is_some_and(State::is_waiting);
    let why = row.reason.as_ref().map(|reason| format!("; {reason}")).unwrap_or_default();
    let so_far = is_waiting.then(|| format!("it is {}{why}", row.state));
    let there = There { id: last.id, gives_way: row.gives_way, so_far };
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
