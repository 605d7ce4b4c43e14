//! `artifact add` and `artifact end`: what a build has done, as it does it.

use std::collections::BTreeMap;

use camino::Utf8PathBuf;
use clap::{Args, Subcommand};
use serde_json::{Map, Value};

use super::super::{Context, usage};
use super::FileArgs;
use crate::model::artifact::{Blob, BundleFiles, Stage, TestResults, Vulnerabilities};
use crate::model::digest::Hasher;
use crate::model::failure::Result;
use crate::model::{Code, Digest, Exit, Failure, FileName};
use crate::world::{clock, files};

/// The arguments of `artifact add`.
#[derive(Debug, Args)]
pub(super) struct AddArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// What was built
    Build(ImageArgs),
    /// What was pushed to a container registry
    Push(ImageArgs),
    /// How the tests ended
    Test(TestArgs),
    /// What a security scan found
    Scan(ScanArgs),
    /// Anything else, as fields
    Item(ItemArgs),
    /// The files of a release's bundle
    Bundle(BundleArgs),
    /// The digest of a file or an image
    Digest(DigestArgs),
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  consign artifact add build --image registry.example.com/web --tag 1.2.3
  consign artifact add push --image registry.example.com/web --tag 1.2.3")]
struct ImageArgs {
    /// The image's name
    #[arg(long, value_name = "IMAGE")]
    image: String,
    /// The image's tag
    #[arg(long, value_name = "TAG")]
    tag: String,
    /// The version of docker
    #[arg(long, value_name = "VERSION")]
    docker_version: Option<String>,
    #[command(flatten)]
    file: FileArgs,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  consign artifact add test --passed 120 --failed 0 --skipped 3 --url https://ci.example.com/1/tests")]
struct TestArgs {
    /// How many passed
    #[arg(long, value_name = "N")]
    passed: u64,
    /// How many failed
    #[arg(long, value_name = "N")]
    failed: u64,
    /// How many were not run
    #[arg(long, value_name = "N")]
    skipped: u64,
    /// The page with the results
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    #[command(flatten)]
    file: FileArgs,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  consign artifact add scan --id code --high 0 --medium 2 --low 5
  consign artifact add scan --id image --high 0 --medium 0 --low 1 --field scanner=trivy")]
struct ScanArgs {
    /// Which scan; a record has each once
    #[arg(long, value_name = "ID", default_value = "scan")]
    id: FileName,
    /// How many grave ones
    #[arg(long, value_name = "N")]
    high: u64,
    /// How many middling ones
    #[arg(long, value_name = "N")]
    medium: u64,
    /// How many slight ones
    #[arg(long, value_name = "N")]
    low: u64,
    /// The page with the results
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// What else the scan says (repeatable)
    #[arg(long = "field", value_name = "NAME=TEXT", value_parser = pair)]
    fields: Vec<(String, String)>,
    #[command(flatten)]
    file: FileArgs,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  consign artifact add item --field name=coverage --field percent=87.5")]
struct ItemArgs {
    /// A field (repeatable)
    #[arg(long = "field", value_name = "NAME=TEXT", value_parser = pair, required = true)]
    fields: Vec<(String, String)>,
    #[command(flatten)]
    file: FileArgs,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  consign artifact add bundle dist/packages/v1.2.3
  consign artifact add bundle dist/packages/v1.2.3 --index-url https://example.com/releases/v1.2.3/index.json")]
struct BundleArgs {
    /// The bundle's directory
    #[arg(id = "bundle", value_name = "DIR")]
    directory: Utf8PathBuf,
    /// Where its index is published
    #[arg(long, value_name = "URL")]
    index_url: Option<String>,
    #[command(flatten)]
    file: FileArgs,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  consign artifact add digest --name registry.example.com/web --sha256 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef")]
struct DigestArgs {
    /// What has the digest
    #[arg(long, value_name = "NAME")]
    name: String,
    /// The digest, with or without `sha256:` before it
    #[arg(long, value_name = "DIGEST")]
    sha256: String,
    #[command(flatten)]
    file: FileArgs,
}

/// The arguments of `artifact end`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  consign artifact end")]
pub(super) struct EndArgs {
    #[command(flatten)]
    file: FileArgs,
}

impl AddArgs {
    pub(super) fn run(&self, context: &Context) -> Result<Exit> {
        match &self.what {
            What::Build(verb) => verb.run(context, "build", "Build"),
            What::Push(verb) => verb.run(context, "push", "Push"),
            What::Test(verb) => verb.run(context),
            What::Scan(verb) => verb.run(context),
            What::Item(verb) => verb.run(context),
            What::Bundle(verb) => verb.run(context),
            What::Digest(verb) => verb.run(context),
        }
    }
}

impl ImageArgs {
    fn run(&self, context: &Context, id: &str, name: &str) -> Result<Exit> {
        let mut texts = vec![("image".to_owned(), self.image.clone()), ("tag".to_owned(), self.tag.clone())];
        texts.extend(self.docker_version.iter().map(|version| ("dockerVersion".to_owned(), version.clone())));
        self.file.change(context, |artifact| {
            artifact.put_stage(Stage::of_texts(id, name, texts));
            Ok(())
        })
    }
}

impl TestArgs {
    fn run(&self, context: &Context) -> Result<Exit> {
        let Self { passed, failed, skipped, .. } = *self;
        self.file.change(context, |artifact| {
            artifact.put_stage(Stage::test(TestResults { passed, failed, skipped }, self.url.as_deref()));
            Ok(())
        })
    }
}

impl ScanArgs {
    fn run(&self, context: &Context) -> Result<Exit> {
        let Self { high, medium, low, .. } = *self;
        let mut more = self.fields.clone();
        more.extend(self.url.iter().map(|url| ("url".to_owned(), url.clone())));
        self.file.change(context, |artifact| {
            artifact.put_stage(Stage::scan(self.id.as_str(), Vulnerabilities { high, medium, low }, more));
            Ok(())
        })
    }
}

impl ItemArgs {
    fn run(&self, context: &Context) -> Result<Exit> {
        let item: Map<String, Value> =
            self.fields.iter().map(|(name, text)| (name.clone(), text.clone().into())).collect();
        if item.len() < self.fields.len() {
            return Err(usage("a field of the item is given twice"));
        }
        self.file.change(context, |artifact| {
            artifact.items.push(item);
            Ok(())
        })
    }
}

impl BundleArgs {
    fn run(&self, context: &Context) -> Result<Exit> {
        let files = digests(&context.path(&self.directory))?;
        self.file.change(context, |artifact| {
            artifact.bundle = Some(BundleFiles { index_url: self.index_url.clone(), files });
            Ok(())
        })
    }
}

impl DigestArgs {
    fn run(&self, context: &Context) -> Result<Exit> {
        let digits = self.sha256.strip_prefix("sha256:").unwrap_or(&self.sha256);
        let sha256: Digest = digits.parse().map_err(|error| usage("the digest cannot be read").because(error))?;
        self.file.change(context, |artifact| {
            artifact.digests.insert(self.name.clone(), sha256);
            Ok(())
        })
    }
}

impl EndArgs {
    pub(super) fn run(&self, context: &Context) -> Result<Exit> {
        self.file.change(context, |artifact| {
            artifact.ci.end = Some(clock::now());
            Ok(())
        })
    }
}

/// Every file of a bundle, with its digest.
pub(super) fn digests(directory: &camino::Utf8Path) -> Result<BTreeMap<FileName, Blob>> {
    if !directory.is_dir() {
        return Err(Failure::new(Code::BundleMissing, format!("there is no bundle at `{directory}`"))
            .subject(directory.as_str())
            .hint("name the directory that holds index.json, or make one with `consign package`"));
    }
    let mut found = BTreeMap::new();
    for (name, _) in files::list(directory)? {
        let path = directory.join(&name);
        let irregular =
            || Failure::new(Code::FileIrregular, format!("`{path}` is no file of a bundle")).subject(path.as_str());
        let name: FileName = name.parse().map_err(|error| irregular().because(error))?;
        let file = files::open_regular(&path)?.ok_or_else(irregular)?;
        found.insert(name, digest(file).map_err(|error| files::failed("read", &path, error))?);
    }
    Ok(found)
}

fn digest(mut file: std::fs::File) -> std::io::Result<Blob> {
    use std::io::Read as _;
    let (mut hasher, mut size_bytes, mut piece) = (Hasher::default(), 0, vec![0; 256 << 10]);
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(Blob { sha256: hasher.finish(), size_bytes }),
            read => {
                hasher.update(&piece[..read]);
                size_bytes += read as u64;
            }
        }
    }
}

/// `NAME=TEXT`; the text may have `=` in it.
fn pair(text: &str) -> Result<(String, String), String> {
    let (name, text) = text.split_once('=').ok_or_else(|| "it is not NAME=TEXT".to_owned())?;
    if name.is_empty() { Err("it has no name".to_owned()) } else { Ok((name.to_owned(), text.to_owned())) }
}
