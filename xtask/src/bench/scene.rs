//! What the contenders work on: a small workspace, large programs for six platforms, and the same
//! bytes as tar files.
//!
//! The programs are pieces of the compiler's own library: real machine code, the same for everyone
//! who has that compiler, and nothing that has to be downloaded.

use anyhow::{Context as _, Result, ensure};
use camino::{Utf8Path, Utf8PathBuf};
use consign::world::process::Program;

use super::files_in;
use super::measure::Command;

/// How much there is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Extent {
    platforms: &'static [&'static str],
    /// The size of each program.
    program_bytes: usize,
    /// What each program starts with.
    head: &'static [u8],
}

impl Extent {
    /// What most subjects work on.
    pub(super) const USUAL: Self = Self {
        platforms: &["linux-amd64", "linux-arm64", "macos-amd64", "macos-arm64", "windows-amd64", "windows-arm64"],
        program_bytes: 32 << 20,
        head: b"",
    };
    /// Twelve packages of some 300 MB together.
    pub(super) const LARGE: Self = Self {
        platforms: &[
            "linux-amd64",
            "linux-arm64",
            "linux-armv7",
            "linux-386",
            "linux-riscv64",
            "linux-amd64-musl",
            "linux-arm64-musl",
            "macos-amd64",
            "macos-arm64",
            "windows-amd64",
            "windows-arm64",
            "freebsd-amd64",
        ],
        program_bytes: 56 << 20,
        head: b"",
    };
    /// Twelve packages of some 250 MB together.
    pub(super) const UPLOAD: Self = Self { program_bytes: 47 << 20, ..Self::LARGE };
    /// One package for this machine, with a program that can be started.
    pub(super) const ONE: Self = Self {
        platforms: &[if cfg!(target_arch = "aarch64") { "linux-arm64" } else { "linux-amd64" }],
        program_bytes: 33_000_000,
        head: b"#!/bin/sh\necho bench 1.0.0\nexit 0\n",
    };
}

const VERSION: &str = "1.0.0";

/// A directory with everything in it, removed at the end.
pub(super) struct Scene {
    directory: tempfile::TempDir,
    consign: Utf8PathBuf,
    extent: Extent,
}

impl Scene {
    /// Sets the scene: programs, workspace, one bundle, the same signed, and the tar streams of its archives.
    pub(super) fn set(consign: &Utf8Path, extent: Extent) -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("consign-bench-").tempdir()?;
        let scene = Self { directory, consign: consign.to_owned(), extent };
        scene.write_programs()?;
        scene.write_workspace()?;
        for path in [scene.tars(), scene.bundle(), scene.signed()] {
            fs_err::create_dir_all(path)?;
        }
        run(&scene.take_in())?;
        // `package` is measured on what it makes anew; `verify` needs something that stays.
        let made = scene.workspace().join("dist/packages").join(format!("v{VERSION}"));
        for (name, _) in consign::world::files::list(&made)? {
            for place in [scene.bundle(), scene.signed()] {
                fs_err::copy(made.join(&name), place.join(&name))?;
            }
            if let Some(stem) = name.strip_suffix(".gz") {
                let line = format!("libdeflate-gunzip -c '{}' > '{}'", made.join(&name), scene.tars().join(stem));
                run(&shell(&line, scene.tars()))?;
            }
        }
        for words in [&["key", "generate", "--out"][..], &["sign", scene.signed().as_str(), "--key"][..]] {
            run(&scene.consign(words, &[scene.key().as_str()]))?;
        }
        Ok(scene)
    }

    /// Packaging programs that are where `consign build` puts them.
    pub(super) fn package(&self) -> Command {
        Command { argv: vec![self.consign.to_string(), "package".to_owned()], directory: self.workspace() }
    }

    /// The same after copying them from elsewhere.
    pub(super) fn take_in(&self) -> Command {
        let mut command = self.package();
        command.argv.extend(["--binaries".to_owned(), self.programs().to_string()]);
        command
    }

    /// Verifying the bundle.
    pub(super) fn verify(&self) -> Command {
        let bundle = self.bundle().to_string();
        Command { argv: vec![self.consign.to_string(), "verify".to_owned(), bundle], directory: self.workspace() }
    }

    /// Verifying the same bundle with the signatures of one key.
    pub(super) fn verify_signed(&self) -> Command {
        self.consign(&["verify", self.signed().as_str()], &["--pubkey", self.public().as_str()])
    }

    /// Compressing the tar files, and then a list of their digests.
    pub(super) fn compress(&self, line: &str) -> Command {
        shell(&format!("{line} && sha256sum *.tar.gz"), self.tars())
    }

    /// Something else done with the archives.
    pub(super) fn check(&self, line: &str) -> Command {
        shell(line, self.bundle())
    }

    /// Where packaging writes.
    pub(super) fn packages(&self) -> (Utf8PathBuf, &'static str) {
        (self.workspace().join("dist/packages"), "")
    }

    /// Where compressing writes.
    pub(super) fn compressed(&self) -> (Utf8PathBuf, &'static str) {
        (self.tars(), ".tar.gz")
    }

    /// The size of all archives of the bundle, and of the same tar files under `libdeflate-gzip -6`.
    pub(super) fn sizes(&self) -> Result<(u64, u64)> {
        let theirs = files_in(&self.tars(), ".tar")?
            .iter()
            .map(|path| {
                let line = format!("libdeflate-gzip -6 -c '{path}' | wc -c");
                let counted = program(&shell(&line, self.tars()))?.read()?;
                counted.trim().parse::<u64>().context("`wc` printed no number")
            })
            .sum::<Result<u64>>()?;
        let ours = files_in(&self.bundle(), ".tar.gz")?.into_iter().map(|path| Ok(fs_err::metadata(path)?.len()));
        Ok((ours.sum::<Result<u64>>()?, theirs))
    }

    /// The size of the largest archive, packed and unpacked together.
    pub(super) fn largest_pair(&self) -> Result<u64> {
        let largest = |directory: &Utf8Path, ending: &str| -> Result<u64> {
            let sizes = files_in(directory, ending)?.into_iter().map(|path| Ok(fs_err::metadata(path)?.len()));
            Ok(sizes.collect::<Result<Vec<u64>>>()?.into_iter().max().unwrap_or_default())
        };
        Ok(largest(&self.tars(), ".tar")? + largest(&self.bundle(), ".tar.gz")?)
    }

    fn write_programs(&self) -> Result<()> {
        let sysroot = Program::new("rustc").args(["--print", "sysroot"]).read()?;
        let lib = Utf8Path::new(&sysroot).join("lib");
        let library = consign::world::files::list(&lib)?
            .into_iter()
            .find(|(name, _)| name.starts_with("librustc_driver"))
            .with_context(|| format!("there is no librustc_driver in `{lib}` to cut programs from"))?;
        let bytes = fs_err::read(lib.join(library.0))?;
        let Extent { platforms, program_bytes, head } = self.extent;
        let spare = bytes.len().checked_sub(program_bytes).context("the compiler's library is too small")?;
        for (number, platform) in platforms.iter().enumerate() {
            let start = spare / (platforms.len() - 1).max(1) * number;
            let name = if platform.starts_with("windows") { "bench.exe" } else { "bench" };
            let directory = self.programs().join(platform);
            fs_err::create_dir_all(&directory)?;
            fs_err::write(directory.join(name), [head, &bytes[start..start + program_bytes - head.len()]].concat())?;
        }
        Ok(())
    }

    fn write_workspace(&self) -> Result<()> {
        let root = self.workspace();
        fs_err::create_dir_all(root.join("src"))?;
        // Cargo keeps what it knows of the compiler there, as it does wherever something was built.
        fs_err::create_dir_all(root.join("target"))?;
        let package = format!("name = \"bench\"\nversion = \"{VERSION}\"\n");
        let platforms: Vec<_> = self.extent.platforms.iter().map(|platform| format!("\"{platform}\"")).collect();
        let platforms = platforms.join(", ");
        for (path, text) in [
            ("Cargo.toml", format!("[package]\n{package}edition = \"2021\"\nlicense = \"MIT\"\n")),
            ("Cargo.lock", format!("version = 4\n\n[[package]]\n{package}")),
            ("src/main.rs", "fn main() {}\n".to_owned()),
            (".gitignore", "/target\n/dist\n".to_owned()),
            ("consign.toml", format!("platforms = [{platforms}]\n[archive]\nformat = \"tar.gz\"\n")),
        ] {
            fs_err::write(root.join(path), text)?;
        }
        for arguments in ["init -q", "add -A", "-c user.name=bench -c user.email=bench@example.com commit -q -m bench"]
        {
            let argv = std::iter::once("git").chain(arguments.split(' ')).map(str::to_owned).collect();
            run(&Command { argv, directory: root.clone() })?;
        }
        Ok(())
    }

    /// The command that is measured.
    pub(super) fn command(&self) -> &Utf8Path {
        &self.consign
    }

    /// Where it is installed.
    pub(super) fn prefix(&self) -> Utf8PathBuf {
        self.place("installed/prefix")
    }

    /// Where everything is that an installation writes.
    pub(super) fn installed(&self) -> Utf8PathBuf {
        self.place("installed")
    }

    /// Where the programs of a careful user work.
    pub(super) fn by_hand(&self) -> Utf8PathBuf {
        self.place("by-hand")
    }

    /// Where a server has what it needs for itself.
    pub(super) fn server(&self) -> Utf8PathBuf {
        self.place("server")
    }

    fn place(&self, name: &str) -> Utf8PathBuf {
        // The prefix and the names are ours; only an odd temporary directory could be anything else.
        Utf8PathBuf::from(self.directory.path().join(name).to_string_lossy().into_owned())
    }

    pub(super) fn workspace(&self) -> Utf8PathBuf {
        self.place("workspace")
    }

    fn programs(&self) -> Utf8PathBuf {
        self.place("programs")
    }

    fn tars(&self) -> Utf8PathBuf {
        self.place("tars")
    }

    /// The bundle without signatures.
    pub(super) fn bundle(&self) -> Utf8PathBuf {
        self.place("bundle")
    }

    pub(super) fn signed(&self) -> Utf8PathBuf {
        self.place("signed")
    }

    fn key(&self) -> Utf8PathBuf {
        self.place("key.pem")
    }

    pub(super) fn public(&self) -> Utf8PathBuf {
        self.place("key.pub.pem")
    }

    fn consign(&self, words: &[&str], more: &[&str]) -> Command {
        let words = words.iter().chain(more).map(|word| (*word).to_owned());
        Command { argv: std::iter::once(self.consign.to_string()).chain(words).collect(), directory: self.workspace() }
    }
}

fn shell(line: &str, directory: Utf8PathBuf) -> Command {
    Command { argv: ["sh", "-ec", line].map(str::to_owned).to_vec(), directory }
}

fn program(command: &Command) -> Result<Program> {
    Ok(Program::of(&command.argv).context("there is nothing to run")?.directory(&command.directory))
}

fn run(command: &Command) -> Result<()> {
    let program = program(command)?;
    let output = program.output()?;
    ensure!(output.status.success(), "`{}` failed:\n{}", program.shown(), output.complaint());
    Ok(())
}
