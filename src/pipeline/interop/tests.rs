//! What the documents say, one release for all of them.

use super::*;
use crate::model::Digest;
use crate::model::index::{ArchiveFormat, PackagedBinary};

fn package(platform: &str) -> Package {
    let platform: Platform = platform.parse().unwrap();
    let (format, suffix) =
        if platform.is_windows() { (ArchiveFormat::Zip, ".exe") } else { (ArchiveFormat::TarGz, "") };
    let archive = format!("my-tool-1.2.3-{platform}.{}", format.extension());
    Package {
        platform,
        target: platform.target().to_owned(),
        sha256: Digest::of(archive.as_bytes()),
        archive: archive.parse().unwrap(),
        format,
        size_bytes: 1,
        unpacked_size_bytes: 2,
        binaries: vec![PackagedBinary {
            path: format!("bin/tool{suffix}"),
            sha256: Digest::of(b"tool"),
            size_bytes: 4,
        }],
    }
}

fn render(interop: Interop, platforms: &[&str], about: &About) -> String {
    let packages: Vec<_> = platforms.iter().map(|platform| package(platform)).collect();
    let (name, version) = ("my-tool".parse().unwrap(), Version::new(1, 2, 3));
    let release = Release {
        name: &name,
        version: &version,
        tag: "v1.2.3",
        date: jiff::Timestamp::from_second(1_700_000_000).unwrap(),
        about,
        base_url: "https://github.com/acme/my-tool/releases/download/v1.2.3",
        packages: &packages,
    };
    let documents = documents(interop, &release).unwrap();
    documents.into_iter().map(|document| String::from_utf8(document.bytes).unwrap()).collect()
}

#[test]
fn a_formula_has_an_address_for_each_system_and_processor() {
    let about = About {
        description: Some("Says \"#{hello}\".".to_owned()),
        homepage: Some("https://example.com".to_owned()),
        licence: Some("MIT OR Apache-2.0".to_owned()),
    };
    let interop = Interop { homebrew: true, ..Interop::default() };
    let formula = render(interop, &["linux-amd64", "linux-amd64-musl", "macos-arm64", "windows-amd64"], &about);
    let expected = format!(
        r#"class MyTool < Formula
  desc "Says \"\#{{hello}}\""
  homepage "https://example.com"
  version "1.2.3"
  license any_of: ["MIT", "Apache-2.0"]

  on_macos do
    on_arm do
      url "https://github.com/acme/my-tool/releases/download/v1.2.3/my-tool-1.2.3-macos-arm64.tar.gz"
      sha256 "{}"
    end
  end

  on_linux do
    on_intel do
      url "https://github.com/acme/my-tool/releases/download/v1.2.3/my-tool-1.2.3-linux-amd64-musl.tar.gz"
      sha256 "{}"
    end
  end

  def install
    bin.install Dir["bin/*"]
  end

  test do
    system bin/"tool", "--version"
  end
end
"#,
        package("macos-arm64").sha256,
        package("linux-amd64-musl").sha256
    );
    assert_eq!(formula, expected);
}

#[test]
fn a_scoop_manifest_lists_the_windows_packages() {
    let interop = Interop { scoop: true, ..Interop::default() };
    let manifest = render(interop, &["linux-amd64", "windows-amd64", "windows-arm64"], &About::default());
    let manifest: serde_json::Value = serde_json::from_str(&manifest).unwrap();
    let architecture = &manifest["architecture"];
    assert_eq!(architecture.as_object().unwrap().keys().collect::<Vec<_>>(), ["64bit", "arm64"]);
    assert_eq!(architecture["64bit"]["bin"][0], "bin\\tool.exe");
    assert_eq!(architecture["64bit"]["extract_dir"], "my-tool-1.2.3-windows-amd64");
    assert_eq!(architecture["64bit"]["hash"], package("windows-amd64").sha256.to_string());
}

#[test]
fn a_dist_manifest_knows_where_github_has_it() {
    let interop = Interop { dist_manifest: true, ..Interop::default() };
    let manifest = render(interop, &["linux-amd64"], &About::default());
    let manifest: serde_json::Value = serde_json::from_str(&manifest).unwrap();
    let github = &manifest["releases"][0]["hosting"]["github"];
    assert_eq!(github["artifact_download_path"], "/acme/my-tool/releases/download/v1.2.3/");
    let artifact = &manifest["artifacts"]["my-tool-1.2.3-linux-amd64.tar.gz"];
    assert_eq!(artifact["assets"][0]["path"], "my-tool-1.2.3-linux-amd64/bin/tool");
    assert_eq!(artifact["target_triples"][0], "x86_64-unknown-linux-gnu");
}

#[test]
fn a_line_of_versions_is_one_line() {
    let interop = Interop { versions: true, ..Interop::default() };
    let line = render(interop, &["linux-amd64", "windows-amd64"], &About::default());
    assert!(line.starts_with("{\"version\":\"1.2.3\",\"date\":\"2023-11-14T22:13:20Z\",\"artifacts\":[{\"platform\":"));
    assert_eq!((line.matches('\n').count(), line.matches("\"archive_format\":\"zip\"").count()), (1, 1));
}

#[test]
fn a_document_does_not_take_the_name_of_another() {
    let interop = Interop { scoop: true, ..Interop::default() };
    let files = |name: &str, base_url| interop.files(&name.parse().unwrap(), base_url);
    assert!(files("index", Some("https://example.com")).is_err());
    assert_eq!(files("tool", Some("https://example.com")).unwrap()[0].as_str(), "tool.json");
    assert!(files("tool", None).is_err(), "it would have no addresses");
}
