//! Where the contract is tried: in the simulator, and over HTTP against others.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType, TimeToLiveSpecification,
};
use aws_sdk_sqs::types::QueueAttributeName;
use cloud_sim::Cloud;
use rustix::io::{FdFlags, fcntl_setfd};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::sdk::Clients;

#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) name: &'static str,
    pub(crate) clients: Clients,
    named: AtomicU32,
    /// What was not as AWS documents it, and how it was.
    deviations: Mutex<Vec<(String, String)>>,
    /// Ends with the target.
    _server: Option<(Child, PathBuf)>,
}

impl Target {
    pub(crate) fn simulator(cloud: &Cloud) -> Self {
        let clients = Clients::of(&cloud.process("test"));
        Self { name: "cloud-sim", clients, named: AtomicU32::new(0), deviations: Mutex::default(), _server: None }
    }

    /// A ministack without a deployment, in the tools' folder; none if it is not installed.
    pub(crate) async fn ministack() -> Option<Self> {
        let python = tool("ministack").map(|ministack| ministack.with_file_name("python"));
        let Some(python) = python else {
            println!("ministack is not installed (.venv): its contract is not checked");
            return None;
        };
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        // The child is to inherit it.
        fcntl_setfd(&listener, FdFlags::empty()).expect("a descriptor that is inherited");
        let fd = std::os::fd::AsRawFd::as_raw_fd(&listener);
        let folder = scratch("ministack");
        let server = command(&python, &folder)
            .arg(repository().join("infra/local/cloud.py"))
            .args(["--fd", &fd.to_string()])
            .envs([
                ("BIND_HOST", "127.0.0.1"),
                ("IOT_MTLS_ENABLED", "0"),
                ("LAMBDA_EXECUTOR", "local"),
                ("LOG_LEVEL", "ERROR"),
            ])
            .env("GATEWAY_PORT", address.port().to_string())
            .env("AWS_ENDPOINT_URL", format!("http://{address}"))
            .env("STATE_DIR", folder.join("state"))
            .env("S3_DATA_DIR", folder.join("s3"))
            .env("DOCKER_HOST", format!("unix://{}/no-docker", folder.display()))
            .stderr(Stdio::null())
            .spawn()
            .expect("ministack starts");
        Some(Self::served("ministack", &format!("http://{address}"), server, folder))
    }

    /// moto's server; none if it is not installed.
    pub(crate) async fn moto() -> Option<Self> {
        let Some(program) = tool("moto_server") else {
            println!("moto is not installed (.venv): its contract is not checked");
            return None;
        };
        let folder = scratch("moto");
        let mut server = command(&program, &folder)
            .args(["-H", "127.0.0.1", "-p", "0"])
            .stderr(Stdio::piped())
            .spawn()
            .expect("moto starts");
        let mut lines = BufReader::new(server.stderr.take().expect("its log")).lines();
        let endpoint = loop {
            let line = lines.next_line().await.expect("a log").expect("moto says where it listens");
            if let Some((_, endpoint)) = line.split_once("Running on ") {
                break endpoint.trim().to_owned();
            }
        };
        // It goes on writing a line for each request.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Some(Self::served("moto", &endpoint, server, folder))
    }

    fn served(name: &'static str, endpoint: &str, server: Child, folder: PathBuf) -> Self {
        let http = aws_smithy_http_client::Builder::new().build_http();
        let clients = Clients::new(http, endpoint);
        Self { name, clients, named: AtomicU32::new(0), deviations: Mutex::default(), _server: Some((server, folder)) }
    }

    pub(crate) fn deviates(&self, what: String, how: String) {
        self.deviations.lock().expect("no panic").push((what, how));
    }

    pub(crate) fn take_deviations(&self) -> Vec<(String, String)> {
        std::mem::take(&mut self.deviations.lock().expect("no panic"))
    }

    fn next_name(&self, what: &str) -> String {
        format!("{what}-{}", self.named.fetch_add(1, Ordering::Relaxed))
    }

    /// A table of its own, with the keys `pk` and `sk`.
    pub(crate) async fn table(&self) -> String {
        let name = self.next_name("table");
        let mut create = self.clients.tables.create_table().table_name(&name).billing_mode(BillingMode::PayPerRequest);
        for (attribute, kind) in [("pk", KeyType::Hash), ("sk", KeyType::Range)] {
            let definition = AttributeDefinition::builder().attribute_name(attribute);
            let definition = definition.attribute_type(ScalarAttributeType::S).build().expect("complete");
            let key = KeySchemaElement::builder().attribute_name(attribute).key_type(kind).build().expect("complete");
            create = create.attribute_definitions(definition).key_schema(key);
        }
        create.send().await.expect("the table is made");
        let ttl = TimeToLiveSpecification::builder().attribute_name("expiresAt").enabled(true).build();
        let ttl = self
            .clients
            .tables
            .update_time_to_live()
            .table_name(&name)
            .time_to_live_specification(ttl.expect("complete"));
        ttl.send().await.expect("the time to live is set");
        name
    }

    /// A standard queue of its own.
    pub(crate) async fn queue(&self, attributes: &[(&str, &str)]) -> String {
        self.make_queue(self.next_name("queue"), attributes).await
    }

    /// A FIFO queue of its own, in high-throughput mode.
    pub(crate) async fn fifo(&self, attributes: &[(&str, &str)]) -> String {
        let mut all = vec![
            ("FifoQueue", "true"),
            ("DeduplicationScope", "messageGroup"),
            ("FifoThroughputLimit", "perMessageGroupId"),
        ];
        all.extend(attributes);
        self.make_queue(self.next_name("queue") + ".fifo", &all).await
    }

    async fn make_queue(&self, name: String, attributes: &[(&str, &str)]) -> String {
        let mut create = self.clients.queues.create_queue().queue_name(name);
        for (name, value) in attributes {
            create = create.attributes(QueueAttributeName::from(*name), *value);
        }
        create.send().await.expect("the queue is made").queue_url.expect("its URL")
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        if let Some((_, folder)) = &self._server {
            // Whatever a server still writes there is nobody's.
            let _ = std::fs::remove_dir_all(folder);
        }
    }
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("the repository").to_owned()
}

/// A program of the tools' folder: `.venv`, or `CLOUD_SIM_TOOLS`.
fn tool(name: &str) -> Option<PathBuf> {
    let folders = [std::env::var_os("CLOUD_SIM_TOOLS").map(PathBuf::from), Some(repository().join(".venv/bin"))];
    folders.into_iter().flatten().map(|folder| folder.join(name)).find(|program| program.exists())
}

fn scratch(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("cloud-sim-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    folder
}

/// A server that ends with the test and has nothing of the developer's environment.
fn command(program: &Path, folder: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .envs([("HOME", folder), ("TMPDIR", folder)])
        .envs([("AWS_ACCESS_KEY_ID", "test"), ("AWS_SECRET_ACCESS_KEY", "test"), ("AWS_REGION", "eu-central-1")])
        .env("AWS_DEFAULT_REGION", "eu-central-1")
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .kill_on_drop(true);
    command
}
