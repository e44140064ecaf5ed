//! The way to the PBX: its name, its port, its certificate, the login, and what it shows of its users.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use jiff::Timestamp;
use rustls::pki_types::CertificateDer;
use tokio::time::timeout;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

use super::monitor;
use super::report::{CheckReport, OpenHop};
use super::steps::within;
use crate::config::{Config, Monitor, MonitorName};
use crate::pbx::frames::Frame;
use crate::pbx::identity::{Decision, PbxIdentity};
use crate::pbx::link::{Dialer, Link, Network, Tcp};
use crate::pbx::rcc::{self, RccFrame};
use crate::pbx::session::Session;
use crate::pbx::tls::Untrusted;

pub(super) const HOPS: [&str; 9] = ["dns", "tcp", "tls", "websocket", "login", "api", "group", "monitor", "pbx-id"];

/// A PBX is silent about an API that is not granted.
const ANSWER_WITHIN: Duration = Duration::from_secs(8);
/// What the PBX's documentation gives as a good size of the groups by which an app sees users.
const GROUP_SIZE: usize = 50;
const EXPIRES_SOON_DAYS: i64 = 30;

pub(super) async fn check(config: &Config, report: &mut CheckReport) {
    let network: Arc<dyn Network> = Arc::new(Tcp);
    match Dialer::all(&network, &config.pbx).as_deref() {
        Ok([main, others @ ..]) => {
            go(main, config, report).await;
            report.skip_rest(&HOPS);
            for other in others {
                try_standby(other, report).await;
            }
        }
        Ok([]) => report.skip_rest(&HOPS),
        Err(error) => {
            let hop = report.begin("dns");
            report.broken(hop, format!("{error:#}"), "correct the table `pbx` of the configuration");
            report.skip_rest(&HOPS);
        }
    }
}

/// A PBX that is there for others may refuse as long as these work.
async fn try_standby(dialer: &Dialer, report: &mut CheckReport) {
    let (hop, host) = (report.begin("standby"), dialer.host());
    match dialer.connect().await {
        Ok(link) => {
            link.close().await;
            report.good(hop, format!("{host} takes the login of App object {}", dialer.app));
        }
        Err(error) => report.warning(
            hop,
            format!("{host}: {error:#}"),
            "let this URL of `pbx.url` be the standby's, and the App object be the same there; a standby may refuse while the \
             main PBX works",
        ),
    }
}

/// Ends at the first hop that is broken.
async fn go(dialer: &Dialer, config: &Config, report: &mut CheckReport) {
    let (host, port) = (dialer.host().to_owned(), dialer.port());

    let hop = report.begin("dns");
    let addresses = match within(dialer.resolve()).await {
        Ok(addresses) => addresses,
        Err(error) => {
            let fix = "correct the host of `pbx.url`, or make this machine's DNS (or /etc/hosts) know it";
            report.broken(hop, format!("{error:#}"), fix);
            return;
        }
    };
    let list: BTreeSet<String> = addresses.iter().map(|address| address.ip().to_string()).collect();
    report.good(hop, format!("{host} is {}", list.into_iter().collect::<Vec<_>>().join(", ")));

    let hop = report.begin("tcp");
    let tcp = match within(dialer.reach(&addresses)).await {
        Ok(tcp) => tcp,
        Err(error) => {
            let fix = format!(
                "correct host and port of `pbx.url`, and let this machine reach port {port} of the PBX (firewall)"
            );
            report.broken(hop, format!("{error:#}"), fix);
            return;
        }
    };
    report.good(hop, format!("port {port} is open"));

    let hop = report.begin("tls");
    let secured = match within(dialer.secure(Box::new(tcp))).await {
        Ok(secured) => secured,
        Err(error) => {
            match error.downcast_ref::<Untrusted>() {
                Some(untrusted) => report.broken(hop, untrusted.to_string(), untrusted.fix()),
                None => {
                    report.broken(
                        hop,
                        format!("{error:#}"),
                        "let `pbx.url` name the HTTPS port of the PBX; ws:// is without TLS",
                    );
                }
            }
            return;
        }
    };
    match &secured.certificate {
        Some(certificate) => judge_certificate(certificate, config, report, hop),
        None => report.warning(
            hop,
            "the connection to the PBX is not encrypted, and nothing proves that it is the PBX",
            "use wss:// in `pbx.url`, and `pbx.fingerprint` if the PBX has signed its certificate itself",
        ),
    }

    let hop = report.begin("websocket");
    let mut link = match within(dialer.begin(secured)).await {
        Ok(link) => link,
        Err(error) => {
            let fix = "correct the path of `pbx.url`; it is /PBX0/APPS/websocket on most boxes, and the port is that of the PBX's web server";
            report.broken(hop, format!("{error:#}"), fix);
            return;
        }
    };
    report.good(hop, dialer.url.path());

    let hop = report.begin("login");
    if let Err(error) = within(dialer.log_in(&mut link)).await {
        let fix = "let `pbx.app` be the Name of the App object in the PBX, and `pbx.password` (or the content of \
                   `pbx.password_file`) its password";
        report.broken(hop, format!("{error:#}"), fix);
        link.close().await;
        return;
    }
    report.good(hop, format!("as App object {}", dialer.app));

    let hop = report.begin("api");
    let listed = list_users(&mut link, &config.pbx.monitor).await;
    let session = match listed {
        Ok(session) => session,
        Err(error) => {
            let fix =
                format!("set the check mark RCC under \"Grant access to APIs\" of the App object `{}`", config.pbx.app);
            report.broken(hop, format!("{error:#}"), fix);
            link.close().await;
            return;
        }
    };
    report.good(hop, "RCC is granted; the agent needs no other API");

    let hop = report.begin("group");
    let is_anybody_there = judge_users(&session, config, report, hop);
    if is_anybody_there {
        let hop = report.begin("monitor");
        monitor::check(&mut link, &session, &config.pbx.app, report, hop).await;
    }
    link.close().await;
    if !is_anybody_there {
        return;
    }

    let hop = report.begin("pbx-id");
    let mut names: Vec<&str> = session.pbx_names().into_iter().collect();
    names.sort_unstable();
    let identity = PbxIdentity::new(config.pbx.id.as_deref(), &config.agent.state_dir);
    const FIX: &str = "set `pbx.id` to one short name, the same for all agents of this PBX";
    match identity.decide(&names, true) {
        Decision::Known { id, warning: Some(warning), .. } => report.warning(hop, format!("{id}. {warning}"), FIX),
        Decision::Known { id, .. } if config.pbx.id.is_some() => report.good(hop, format!("{id}, as configured")),
        Decision::Known { id, .. } => report.good(hop, id.to_string()),
        Decision::NobodyYet | Decision::Undecided => {
            report.broken(hop, format!("the visible users name {} PBXs: {}", names.len(), names.join(", ")), FIX);
        }
    }
}

fn judge_certificate(certificate: &CertificateDer<'_>, config: &Config, report: &mut CheckReport, hop: OpenHop) {
    let how = match (&config.pbx.fingerprint, &config.pbx.ca_file) {
        (Some(_), _) => "trusted by its fingerprint",
        (None, Some(_)) => "trusted by `pbx.ca_file`",
        (None, None) => "trusted by this system's authorities",
    };
    let until = X509Certificate::from_der(certificate).ok().map(|(_, parsed)| parsed.validity().not_after.timestamp());
    let Some(until) = until.and_then(|seconds| Timestamp::from_second(seconds).ok()) else {
        return report.good(hop, how);
    };
    let days = (until.as_second() - Timestamp::now().as_second()).div_euclid(24 * 60 * 60);
    let detail = format!("{how}; valid until {}", until.strftime("%Y-%m-%d"));
    // Whoever trusts a fingerprint trusts it for ever.
    if days >= EXPIRES_SOON_DAYS || config.pbx.fingerprint.is_some() {
        report.good(hop, detail);
    } else {
        report.warning(hop, format!("{detail}, in {days} days"), "renew the certificate on the PBX before that");
    }
}

/// Asks for the users as the agent does, and for nothing else.
async fn list_users(link: &mut Link, monitor: &Monitor) -> anyhow::Result<Session> {
    let mut session = Session::new(0);
    link.send(rcc::initialize(monitor.by_group())).await?;
    loop {
        let frame = timeout(ANSWER_WITHIN, link.next()).await;
        match frame.context("the PBX does not answer on the API RCC")?? {
            Frame::Rcc(RccFrame::User(info)) => {
                session.on_user_info(info, monitor);
            }
            Frame::Rcc(RccFrame::InitializeResult { error: None }) => return Ok(session),
            Frame::Rcc(RccFrame::InitializeResult { error: Some(error) }) => {
                bail!("the PBX refuses the API RCC: {error}")
            }
            _ => {}
        }
    }
}

/// Whether the agent would see somebody.
fn judge_users(session: &Session, config: &Config, report: &mut CheckReport, hop: OpenHop) -> bool {
    let (app, visible) = (&config.pbx.app, session.visible().count());
    let detail = format!("{visible} users and queues are visible");
    match &config.pbx.monitor {
        Monitor::Named(MonitorName::Group) if visible == 0 => {
            let fix = format!(
                "in the PBX, make the App object `{app}` an active member of the group with the users to monitor, and those users \
                 members of it; or set `pbx.monitor`"
            );
            report.broken(
                hop,
                "the PBX shows no user: the App object is in no group as an active member, or its group is empty",
                fix,
            );
        }
        Monitor::Named(MonitorName::App) if visible == 0 => {
            let fix = format!(
                "in the PBX, give users access to the App object `{app}` (their Apps tab, or a configuration template)"
            );
            report.broken(hop, "the PBX shows no user with access to the App object", fix);
        }
        Monitor::List(names) if visible < names.len() => {
            let shown: BTreeSet<&str> = session.visible().map(|user| user.info.cn.as_str()).collect();
            let missing: Vec<&str> = names.iter().map(String::as_str).filter(|name| !shown.contains(name)).collect();
            let detail = format!("{detail}; `pbx.monitor` also names {}", missing.join(", "));
            let fix = format!(
                "correct these Long Names in `pbx.monitor`, or give these users access to the App object `{app}`"
            );
            if visible == 0 {
                report.broken(hop, detail, fix);
            } else {
                report.warning(hop, detail, fix);
            }
        }
        Monitor::Named(MonitorName::Group) if visible > GROUP_SIZE => report.warning(
            hop,
            format!("{detail}; visibility by group is meant for about {GROUP_SIZE}"),
            "if the PBX is slow, set `pbx.monitor = \"app\"` and give the users access to the App object",
        ),
        _ => report.good(hop, detail),
    }
    visible > 0
}
