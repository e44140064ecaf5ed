//! `easyconnect-agent check`: goes the way of an event and of a command hop by hop, and says which one is broken and what
//! mends it.
//!
//! It may run beside a running agent: it has a login of its own at the PBX, monitors one user for a moment, takes no command,
//! sends no event and writes nothing. Its output holds no secret and no number.

mod cloud;
mod destinations;
mod disk;
mod monitor;
mod pbx;
mod probe;
mod report;
mod rights;
mod route;
mod slot;
mod steps;

use std::path::Path;

use crate::config::Config;
use crate::pbx::tls;
use report::CheckReport;
use rights::SystemUser;

/// The configuration cannot be used (EX_USAGE of sysexits.h); the same code as that of `run`.
const EXIT_BAD_CONFIG: u8 = 64;
const EXIT_BROKEN: u8 = 1;

/// Checks everything and prints it. Returns the exit code.
pub async fn run(file: &Path, json: bool) -> u8 {
    let mut report = CheckReport::new(json);
    let hop = report.begin("config");
    let code = match usable(file) {
        Ok((config, user)) => {
            report.good(hop, file.display().to_string());
            pbx::check(&config, &mut report).await;
            cloud::check(&config, &mut report).await;
            disk::check(&config, user.as_ref(), &mut report);
            if report.is_broken() { EXIT_BROKEN } else { 0 }
        }
        Err((detail, fix)) => {
            report.broken(hop, detail, fix);
            report.skip_rest(&pbx::HOPS);
            report.skip_rest(&cloud::HOPS);
            report.skip("disk");
            EXIT_BAD_CONFIG
        }
    };
    report.end();
    code
}

/// A configuration that this user can read, and the agent's own user as well, whom only root can speak for. Else what is wrong
/// and what mends it.
fn usable(file: &Path) -> Result<(Config, Option<SystemUser>), (String, String)> {
    let correct = |error: &dyn std::fmt::Display| {
        let fix = format!(
            "correct {}, or the file or variable that is named here; what cannot be read needs root",
            file.display()
        );
        (error.to_string(), fix)
    };
    let config = Config::load_for_check(file).map_err(|error| correct(&error))?;
    tls::client_config(&config.pbx).map_err(|error| correct(&error))?;
    let user = SystemUser::of(&config);
    if let Some(user) = &user {
        for path in [Some(file), config.pbx.ca_file.as_deref()].into_iter().flatten() {
            if let Some(lack) = user.lacks(path).map_err(|error| correct(&error))? {
                return Err(lack);
            }
        }
    }
    Ok((config, user))
}
