//! Packs the pages that the function serves: the console; and at `/swagger/` Swagger UI as its authors publish it, our own page around
//! it, and the API description. Each file is compressed once, here, so that an answer costs nothing but its transfer.
//!
//! Swagger UI comes from `utoipa-swagger-ui-vendored` alone. The rest of that library would unpack assets five times as large.

use std::error::Error;
use std::fmt::Write as _;
use std::io::{Cursor, Read, Write as _};
use std::path::{Path, PathBuf};
use std::{env, fs};

use flate2::write::GzEncoder;
use flate2::{Compression, Crc};
use zip::ZipArchive;

/// The files of Swagger UI that the page needs, and those that its licence asks for.
const SWAGGER_UI: [(&str, &str); 5] = [
    ("dist/swagger-ui-bundle.js", "swagger-ui-bundle.js"),
    ("dist/swagger-ui.css", "swagger-ui.css"),
    ("dist/favicon-32x32.png", "favicon-32x32.png"),
    ("LICENSE", "swagger-ui-license.txt"),
    ("NOTICE", "swagger-ui-notice.txt"),
];
const PAGE: [&str; 3] = ["index.html", "page.css", "page.js"];
const CONSOLE: &str = "console";
const DESCRIPTIONS: [&str; 4] = ["api.yaml", "api.json", "makers.json", "v2.json"];

/// A file by the name under which it is served.
type NamedFile = (String, Vec<u8>);

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=openapi");
    println!("cargo::rerun-if-changed={CONSOLE}");
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let mut files = swagger_ui()?;
    for name in PAGE {
        files.push((name.to_owned(), fs::read(Path::new("openapi/page").join(name))?));
    }
    let version = version(&files);
    for (name, content) in &mut files {
        if name == "index.html" {
            *content = String::from_utf8(std::mem::take(content))?.replace("{version}", &version).into_bytes();
        }
    }
    for name in DESCRIPTIONS {
        files.push((name.to_owned(), fs::read(Path::new("openapi").join(name))?));
    }
    pack(&out, "swagger", files)?;
    pack(&out, CONSOLE, console()?)
}

/// Compresses files, and writes the table by which the function finds them.
fn pack(out: &Path, name: &str, files: Vec<NamedFile>) -> Result<(), Box<dyn Error>> {
    let folder = out.join(name);
    fs::create_dir_all(&folder)?;
    let mut table = String::from("const FILES: &[File] = &[\n");
    for file in files {
        let version = version(std::slice::from_ref(&file));
        let (name, content) = file;
        let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
        gzip.write_all(&content)?;
        let path = folder.join(format!("{name}.gz"));
        fs::write(&path, gzip.finish()?)?;
        let path = path.display().to_string();
        writeln!(table, "    File {{ name: {name:?}, version: {version:?}, gzip: include_bytes!({path:?}) }},")?;
    }
    table.push_str("];\n");
    fs::write(out.join(format!("{name}.rs")), table)?;
    Ok(())
}

/// Every file of the console's folder.
fn console() -> Result<Vec<NamedFile>, Box<dyn Error>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(CONSOLE)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).ok_or("a file has no name")?;
        files.push((name.to_owned(), fs::read(&path)?));
    }
    files.sort();
    Ok(files)
}

/// The files of Swagger UI that the page needs.
fn swagger_ui() -> Result<Vec<NamedFile>, Box<dyn Error>> {
    let mut archive = ZipArchive::new(Cursor::new(utoipa_swagger_ui_vendored::SWAGGER_UI_VENDORED))?;
    // The archive holds one folder, named after the version.
    let first = archive.by_index(0)?.name()?.into_owned();
    let root = first.split('/').next().unwrap_or_default();
    let mut files = Vec::new();
    for (path, name) in SWAGGER_UI {
        let mut content = Vec::new();
        archive.by_name(&format!("{root}/{path}"))?.read_to_end(&mut content)?;
        files.push((name.to_owned(), without_source_map(content)));
    }
    Ok(files)
}

/// Browsers would look for a map that we do not serve.
fn without_source_map(content: Vec<u8>) -> Vec<u8> {
    match String::from_utf8(content) {
        Ok(text) => {
            let maps = |line: &&str| !line.contains("# sourceMappingURL=");
            if text.lines().all(|line| maps(&line)) {
                return text.into_bytes();
            }
            text.lines().filter(maps).flat_map(|line| [line, "\n"]).collect::<String>().into_bytes()
        }
        Err(binary) => binary.into_bytes(),
    }
}

/// Changes with any of the files; it goes into their addresses, so that no browser mixes the files of two versions.
fn version(files: &[NamedFile]) -> String {
    let mut crc = Crc::new();
    for (_, content) in files {
        crc.update(content);
    }
    format!("{:08x}", crc.sum())
}
