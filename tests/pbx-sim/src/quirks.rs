//! Switches for everything in which real PBXes differ, or are not documented.

use serde::Serialize;

/// How the end of a call is marked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum DelStyle {
    /// `msg:"del"` and `del:true`.
    #[default]
    Both,
    /// Only `msg:"del"`.
    Msg,
    /// Only `del:true`.
    Flag,
}

/// What a request with a dead or foreign handle gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum DeadHandles {
    /// A result with `error`.
    #[default]
    Error,
    /// A result that looks positive.
    Ok,
    /// Nothing.
    Silent,
}

/// Deliberate variety. The default is the plain, documented behaviour.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Quirks {
    /// `conf` only in the first message of a handle and when it changes.
    pub omit_conf: bool,
    /// `peer` with empty numbers in every message but the first of a handle.
    pub empty_peer: bool,
    /// `info` as an object instead of an array.
    pub info_object: bool,
    /// No alerting messages.
    pub skip_alert: bool,
    /// Every call event twice, except the last one of a call.
    pub double_events: bool,
    /// How the end of a call is marked.
    pub del: DelStyle,
    /// `true`: every cleared call lingers with a tone; `false`: none does; `null`: failed calls do.
    pub linger_disc: Option<bool>,
    /// No `time` property, as before 13r3.
    pub omit_time: bool,
    /// Running calls are reported after `UserInitialize`.
    pub report_running: bool,
    /// Requests for APIs that are not granted, or not offered, get an error instead of silence.
    pub error_replies: bool,
    /// What a request with a dead or foreign handle gets.
    pub dead_handles: DeadHandles,
    /// `KeepAlive` is answered with `KeepAlive`.
    pub echo_keepalive: bool,
    /// The challenge is a JSON number.
    pub numeric_challenge: bool,
    /// The connection is closed after a failed login.
    pub close_after_failed_login: bool,
    /// `UserDTMF{recv:true}` sends to the far end.
    pub dtmf_recv_to_peer: bool,
    /// Results lack `src`; webhooks keep theirs.
    pub omit_result_src: bool,
    /// Only visible users can be monitored.
    pub restrict_monitoring: bool,
}

impl Default for Quirks {
    fn default() -> Self {
        Self {
            omit_conf: false,
            empty_peer: false,
            info_object: false,
            skip_alert: false,
            double_events: false,
            del: DelStyle::Both,
            linger_disc: None,
            omit_time: false,
            report_running: true,
            error_replies: false,
            dead_handles: DeadHandles::Error,
            echo_keepalive: false,
            numeric_challenge: false,
            close_after_failed_login: false,
            dtmf_recv_to_peer: false,
            omit_result_src: false,
            restrict_monitoring: false,
        }
    }
}
