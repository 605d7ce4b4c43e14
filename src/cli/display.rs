//! Who shows what happens while a verb runs: a live view on a terminal, plain lines elsewhere, JSON
//! lines for scripts, or nothing.
//!
//! Every display only listens to [`Event`]s; none of them changes what is done. All of it goes to
//! standard error, except JSON lines.

use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use owo_colors::OwoColorize as _;

use super::Globals;
use super::output::{self, Format};
use crate::config::environment::{self, Environment};
use crate::model::events::{Event, Listener, Outcome, Silence};
use crate::model::stage::Stage;
use crate::model::text;

/// The display of a run.
pub enum Display {
    /// Nothing.
    Quiet(Silence),
    /// One line per event on standard error.
    Plain(Plain),
    /// A view that changes in place, on a terminal.
    Live(Live),
    /// One line of JSON per event on standard output.
    Ndjson(Ndjson),
}

impl Display {
    /// The display that fits the options, the terminal and the environment.
    pub fn choose(globals: &Globals, environment: &Environment) -> Self {
        if globals.format == Format::Ndjson {
            return Self::Ndjson(Ndjson);
        }
        if globals.quiet {
            return Self::Quiet(Silence);
        }
        // A build server may offer a terminal that nobody watches and that keeps every redrawn line.
        let watched = environment.get(environment::CI).is_none() && environment.get(environment::TERM) != Some("dumb");
        if watched && std::io::stderr().is_terminal() {
            Self::Live(Live::new())
        } else {
            Self::Plain(Plain { verbose: globals.verbose > 0 })
        }
    }

    /// The listener to hand to the library.
    pub fn listener(&self) -> &dyn Listener {
        match self {
            Self::Quiet(silence) => silence,
            Self::Plain(plain) => plain,
            Self::Live(live) => live,
            Self::Ndjson(lines) => lines,
        }
    }

    /// Takes away what would change in place.
    pub fn finish(&self) {
        if let Self::Live(live) = self {
            live.clear();
        }
    }
}

/// One plain line per event.
pub struct Plain {
    verbose: bool,
}

impl Listener for Plain {
    fn hear(&self, event: &Event) {
        if let Some(line) = self.line(event) {
            output::complain(&format!("{line}\n"));
        }
    }
}

impl Plain {
    fn line(&self, event: &Event) -> Option<String> {
        match event {
            // What takes minutes says that it began; the rest is over before that could be read.
            Event::TaskStarted { stage: Stage::Build, task } => {
                Some(labelled(Stage::Build, &format!("{} …", text::shown(task))))
            }
            Event::TaskStarted { stage, task } if self.verbose => {
                Some(labelled(*stage, &format!("{} …", text::shown(task))))
            }
            Event::StageStarted { stage } if self.verbose => Some(labelled(*stage, "…")),
            Event::Output { stage, line } if self.verbose => Some(labelled(*stage, &dimmed(line))),
            Event::Transfer { file, bytes, ended: true, .. } if self.verbose => {
                let label = format!("{:>13}", "fetched").cyan().to_string();
                Some(format!("{label}  {}  {}", text::shown(file), output::bytes(*bytes)))
            }
            Event::TaskStarted { .. } | Event::StageStarted { .. } | Event::Output { .. } | Event::Transfer { .. } => {
                None
            }
            ended => ended_line(ended),
        }
    }
}

/// What stages and platforms are at work, redrawn in place; lines that stay scroll above.
pub struct Live {
    bars: MultiProgress,
    running: Mutex<BTreeMap<(Stage, Option<String>), ProgressBar>>,
    coming: Mutex<BTreeMap<String, Coming>>,
}

/// A file on its way. What is over in an instant is not drawn.
struct Coming {
    since: Instant,
    bar: ProgressBar,
    is_drawn: bool,
}

/// A stage at work, in the place where its line will stand when it has ended.
const STAGE_TEMPLATE: &str = "{prefix:>13.cyan.bold}  {elapsed:.dim} {spinner}";
/// A platform or file at work.
const TASK_TEMPLATE: &str = "{spinner:>13.dim}  {prefix}  {elapsed:.dim}";
/// A file of known size on its way.
const SIZED_TEMPLATE: &str =
    "     {msg:.cyan.bold}  {prefix}  {wide_bar:.cyan/dim}  {bytes}/{total_bytes}  {bytes_per_sec:.dim}  {eta:.dim}";
/// A file of unknown size on its way.
const UNSIZED_TEMPLATE: &str = "     {msg:.cyan.bold}  {prefix}  {bytes}  {bytes_per_sec:.dim}";
/// How long a file may come before it is drawn.
const UNSEEN: Duration = Duration::from_millis(200);

impl Live {
    fn new() -> Self {
        Self { bars: MultiProgress::new(), running: Mutex::default(), coming: Mutex::default() }
    }

    fn transfer(&self, file: &str, bytes: u64, total_bytes: Option<u64>) {
        let Ok(mut coming) = self.coming.lock() else { return };
        let coming = coming.entry(file.to_owned()).or_insert_with(|| Coming::of(file, total_bytes));
        // From the first byte on, for the speed.
        coming.bar.set_position(bytes);
        if !coming.is_drawn && coming.since.elapsed() >= UNSEEN {
            coming.bar = self.bars.add(coming.bar.clone());
            coming.is_drawn = true;
        }
    }

    fn arrived(&self, over: impl Fn(&str) -> bool) {
        if let Ok(mut coming) = self.coming.lock() {
            coming.retain(|file, coming| {
                let over = over(file);
                if over && coming.is_drawn {
                    coming.bar.finish_and_clear();
                    self.bars.remove(&coming.bar);
                }
                !over
            });
        }
    }

    fn start(&self, stage: Stage, task: Option<&str>) {
        let template = if task.is_none() { STAGE_TEMPLATE } else { TASK_TEMPLATE };
        let style = ProgressStyle::with_template(template)
            .unwrap_or_else(|_| ProgressStyle::default_spinner())
            .tick_chars("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏ ");
        let shown = task.map_or_else(|| stage.as_str().to_owned(), |task| text::shown(task).into_owned());
        let bar = self.bars.add(ProgressBar::new_spinner().with_style(style).with_prefix(shown));
        bar.enable_steady_tick(Duration::from_millis(120));
        if let Ok(mut running) = self.running.lock() {
            running.insert((stage, task.map(str::to_owned)), bar);
        }
    }

    fn stop(&self, ended: impl Fn(Stage, Option<&str>) -> bool) {
        if let Ok(mut running) = self.running.lock() {
            running.retain(|(stage, task), bar| {
                let over = ended(*stage, task.as_deref());
                if over {
                    bar.finish_and_clear();
                    self.bars.remove(bar);
                }
                !over
            });
        }
    }

    fn clear(&self) {
        self.stop(|_, _| true);
        self.arrived(|_| true);
        // The terminal may be gone; there is nothing left to draw then.
        let _ = self.bars.clear();
    }

    fn say(&self, line: &str) {
        // A terminal without colours has said so to the stream, which indicatif does not ask.
        let coloured = anstream::AutoStream::choice(&std::io::stderr()) != anstream::ColorChoice::Never;
        let line = if coloured { line.to_owned() } else { anstream::adapter::strip_str(line).to_string() };
        let _ = self.bars.println(output::discreet(&line));
    }
}

impl Coming {
    fn of(file: &str, total_bytes: Option<u64>) -> Self {
        let template = if total_bytes.is_some() { SIZED_TEMPLATE } else { UNSIZED_TEMPLATE };
        let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = ProgressBar::with_draw_target(total_bytes, ProgressDrawTarget::hidden())
            .with_style(style.progress_chars("━╸─"))
            .with_prefix(text::shown(file).into_owned())
            .with_message("fetching");
        Self { since: Instant::now(), bar, is_drawn: false }
    }
}

impl Listener for Live {
    fn hear(&self, event: &Event) {
        match event {
            Event::StageStarted { stage } => self.start(*stage, None),
            Event::TaskStarted { stage, task } => self.start(*stage, Some(task)),
            Event::StageFinished { stage, .. } => self.stop(|running, _| running == *stage),
            Event::TaskFinished { stage, task, .. } => {
                self.stop(|running, name| running == *stage && name == Some(task.as_str()));
            }
            Event::Output { line, .. } => self.say(&format!("               {}", dimmed(line))),
            Event::Transfer { file, ended: true, .. } => self.arrived(|coming| coming == file),
            Event::Transfer { file, bytes, total_bytes, .. } => self.transfer(file, *bytes, *total_bytes),
            Event::Warning { .. } => {}
        }
        if let Some(line) = ended_line(event) {
            self.say(&line);
        }
    }
}

/// One line of JSON per event.
pub struct Ndjson;

impl Listener for Ndjson {
    fn hear(&self, event: &Event) {
        output::print_event(event);
    }
}

/// The line of an event that says how something ended; both views for people use it.
fn ended_line(event: &Event) -> Option<String> {
    match event {
        Event::StageFinished { stage, outcome, duration, detail } => {
            let word = match outcome {
                Outcome::Passed => "passed".green().to_string(),
                Outcome::Skipped => "skipped".yellow().to_string(),
                Outcome::Failed => "failed".red().bold().to_string(),
            };
            let took = match outcome {
                Outcome::Skipped => String::new(),
                _ => format!("  {}", output::duration(*duration).dimmed()),
            };
            let detail = text::shown(detail);
            let gap = if detail.is_empty() { "" } else { "  " };
            Some(labelled(*stage, &format!("{word}{took}{gap}{detail}")))
        }
        Event::TaskFinished { stage, task, bytes, duration } => {
            let size = if *bytes == 0 { String::new() } else { format!("  {}", output::bytes(*bytes)) };
            let took = output::duration(*duration);
            Some(labelled(*stage, &format!("{}{size}  {}", text::shown(task), took.dimmed())))
        }
        Event::Warning { message } => Some(format!("{} {}", "warning:".yellow().bold(), text::shown(message))),
        Event::StageStarted { .. } | Event::TaskStarted { .. } | Event::Transfer { .. } | Event::Output { .. } => None,
    }
}

fn labelled(stage: Stage, rest: &str) -> String {
    format!("{}  {rest}", format!("{stage:>13}").cyan())
}

fn dimmed(line: &str) -> String {
    text::shown(line).dimmed().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(verbose: bool, event: &Event) -> Option<String> {
        Plain { verbose }.line(event).map(|line| anstream::adapter::strip_str(&line).to_string())
    }

    #[test]
    fn an_end_is_one_line_with_time_and_detail() {
        let event = Event::StageFinished {
            stage: Stage::Build,
            outcome: Outcome::Passed,
            duration: Duration::from_millis(1500),
            detail: "2 platforms\u{1b}[2J".to_owned(),
        };
        assert_eq!(plain(false, &event).as_deref(), Some("        build  passed  1.5s  2 platforms\\u{1b}[2J"));
        let event = Event::TaskFinished {
            stage: Stage::Package,
            task: "linux-amd64".to_owned(),
            bytes: 2048,
            duration: Duration::from_millis(20),
        };
        assert_eq!(plain(false, &event).as_deref(), Some("      package  linux-amd64  2.00 KiB  0.0s"));
    }

    #[test]
    fn what_programs_print_is_shown_only_when_asked_for() {
        let event = Event::Output { stage: Stage::Build, line: "Compiling x".to_owned() };
        assert_eq!(plain(false, &event), None);
        assert_eq!(plain(true, &event).as_deref(), Some("        build  Compiling x"));
    }

    #[test]
    fn a_build_says_that_it_began() {
        let event = Event::TaskStarted { stage: Stage::Build, task: "linux-arm64".to_owned() };
        assert_eq!(plain(false, &event).as_deref(), Some("        build  linux-arm64 …"));
    }

    #[test]
    fn the_templates_of_the_live_view_are_sound() {
        for template in [STAGE_TEMPLATE, TASK_TEMPLATE, SIZED_TEMPLATE, UNSIZED_TEMPLATE] {
            assert!(ProgressStyle::with_template(template).is_ok(), "{template}");
        }
    }

    #[test]
    fn the_live_view_forgets_what_has_ended() {
        let live = Live::new();
        live.hear(&Event::StageStarted { stage: Stage::Build });
        live.hear(&Event::TaskStarted { stage: Stage::Build, task: "a".to_owned() });
        live.hear(&Event::TaskStarted { stage: Stage::Build, task: "b".to_owned() });
        live.hear(&Event::TaskFinished {
            stage: Stage::Build,
            task: "a".to_owned(),
            bytes: 0,
            duration: Duration::ZERO,
        });
        assert_eq!(live.running.lock().expect("not poisoned").len(), 2);
        live.hear(&Event::StageFinished {
            stage: Stage::Build,
            outcome: Outcome::Failed,
            duration: Duration::ZERO,
            detail: String::new(),
        });
        assert!(live.running.lock().expect("not poisoned").is_empty());
    }
}
