//! What the stack is made of, read from `template.yaml`: stories are told about what is deployed.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use cloud_sim::Mapping;
use serde_json::{Map, Value as Json, json};

/// The name of the stack, which begins the names of its queues.
pub(crate) const STACK: &str = "story";
/// Where the SDKs send their requests; nobody is there but the simulator.
pub(crate) const ENDPOINT: &str = "http://cloud-sim.invalid";
const ACCOUNT: &str = "000000000000";

/// CloudFormation's tags are read over: what is left of `!Ref X`, `!GetAtt X.Arn` and `!Sub …` says the same.
#[derive(Clone, Debug)]
pub(crate) struct Template {
    resources: Map<String, Json>,
    parameters: Map<String, Json>,
}

/// A Lambda function as it is deployed.
#[derive(Clone, Debug)]
pub(crate) struct FunctionPlan {
    /// The name of its resource.
    pub(crate) id: String,
    /// The name of its binary.
    pub(crate) binary: String,
    pub(crate) timeout: Duration,
    pub(crate) memory_mib: u32,
    pub(crate) mappings: Vec<Mapping>,
    /// It is also called once a minute.
    pub(crate) every_minute: bool,
}

impl Template {
    pub(crate) fn read() -> Self {
        Self::read_from(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../template.yaml"))
    }

    pub(crate) fn read_from(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).expect("template.yaml is there");
        let options = serde_saphyr::options! { budget: None };
        let mut document: Json = serde_saphyr::from_str_with_options(&text, options).expect("template.yaml is YAML");
        let mut take = |name: &str| match document[name].take() {
            Json::Object(fields) => fields,
            other => panic!("`{name}` in template.yaml is {other}"),
        };
        Self { resources: take("Resources"), parameters: take("Parameters") }
    }

    /// The same with another value of a parameter.
    pub(crate) fn with_parameter(mut self, name: &str, value: impl Into<Json>) -> Self {
        self.parameters[name]["Default"] = value.into();
        self
    }

    fn of_type(&self, kind: &str) -> impl Iterator<Item = (&String, &Json)> {
        self.resources.iter().filter(move |(_, resource)| resource["Type"] == kind)
    }

    /// The bodies of the requests that make the tables, each beside the one that sets its time to live.
    pub(crate) fn tables(&self) -> Vec<(Json, Json)> {
        let table = |(id, resource): (&String, &Json)| {
            let (name, properties) = (table_name(id), &resource["Properties"]);
            let create = json!({
                "TableName": name,
                "BillingMode": properties["BillingMode"],
                "AttributeDefinitions": properties["AttributeDefinitions"],
                "KeySchema": properties["KeySchema"],
            });
            (create, json!({"TableName": name, "TimeToLiveSpecification": properties["TimeToLiveSpecification"]}))
        };
        self.of_type("AWS::DynamoDB::Table").map(table).collect()
    }

    /// The names of the queues and the bodies of the requests that make them.
    pub(crate) fn queues(&self) -> Vec<(String, Json)> {
        let queue = |(id, resource): (&String, &Json)| {
            let Json::Object(properties) = &resource["Properties"] else { panic!("queue {id} has no properties") };
            let attributes = properties.iter().filter(|(name, _)| *name != "QueueName");
            let attributes: BTreeMap<&str, String> =
                attributes.map(|(name, value)| (name.as_str(), self.attribute(value))).collect();
            let name = self.queue_name(id);
            (name.clone(), json!({"QueueName": name, "Attributes": attributes}))
        };
        self.of_type("AWS::SQS::Queue").map(queue).collect()
    }

    pub(crate) fn functions(&self) -> Vec<FunctionPlan> {
        self.of_type("AWS::Serverless::Function").map(|(id, resource)| self.function(id, resource)).collect()
    }

    /// The environment variables of a function.
    pub(crate) fn variables(&self, id: &str) -> BTreeMap<String, String> {
        let variables = self.resources[id]["Properties"]["Environment"]["Variables"].as_object().expect("variables");
        variables.iter().map(|(name, value)| (name.clone(), self.attribute(value))).collect()
    }

    fn function(&self, id: &str, resource: &Json) -> FunctionPlan {
        let properties = &resource["Properties"];
        let number = |value: &Json, what: &str| value.as_u64().unwrap_or_else(|| panic!("{id} has no {what}"));
        let binary = resource["Metadata"]["BuildProperties"]["Binary"].as_str().expect("a binary").to_owned();
        let timeout = Duration::from_secs(number(&properties["Timeout"], "timeout"));
        let memory_mib = number(&properties["MemorySize"], "memory size") as u32;
        let events = properties["Events"].as_object();
        let events: Vec<&Json> = events.into_iter().flat_map(Map::values).collect();
        let mapping = |event: &&Json| {
            let given = &event["Properties"];
            let queue = given["Queue"].as_str().and_then(|arn| arn.strip_suffix(".Arn")).expect("a queue's ARN");
            let concurrency = self.attribute(&given["ScalingConfig"]["MaximumConcurrency"]).parse::<usize>().ok();
            Mapping {
                batch_size: given["BatchSize"].as_u64().unwrap_or(10) as usize,
                maximum_concurrency: concurrency.unwrap_or(1000),
                reserved_concurrency: properties["ReservedConcurrentExecutions"].as_u64().map(|most| most as usize),
                timeout,
                memory_mib,
                partial_responses: given["FunctionResponseTypes"] == json!(["ReportBatchItemFailures"]),
                ..Mapping::new(self.queue_name(queue), &binary)
            }
        };
        FunctionPlan {
            id: id.to_owned(),
            timeout,
            memory_mib,
            mappings: events.iter().filter(|event| event["Type"] == "SQS").map(mapping).collect(),
            every_minute: events.iter().any(|event| event["Properties"]["Schedule"] == "rate(1 minute)"),
            binary,
        }
    }

    /// Those that are made in any case, and not only for a topic that somebody reads.
    pub(crate) fn alarms(&self) -> usize {
        self.of_type("AWS::CloudWatch::Alarm").filter(|(_, alarm)| alarm["Condition"].is_null()).count()
    }

    /// A scalar as the resource gets it, with what it refers to.
    fn attribute(&self, value: &Json) -> String {
        match value {
            Json::String(text) => self.resolved(text),
            Json::Object(fields) => {
                let fields: BTreeMap<&str, String> =
                    fields.iter().map(|(name, value)| (name.as_str(), self.attribute(value))).collect();
                json!(fields).to_string()
            }
            // What is left of `!Join`.
            Json::Array(parts) => match parts.as_slice() {
                [Json::String(between), Json::Array(values)] => {
                    values.iter().map(|value| self.attribute(value)).collect::<Vec<_>>().join(between)
                }
                _ => value.to_string(),
            },
            other => other.to_string(),
        }
    }

    fn resolved(&self, text: &str) -> String {
        if text == "AWS::StackName" {
            return STACK.to_owned();
        }
        if let Some(parameter) = self.parameters.get(text) {
            let default = &parameter["Default"];
            return default.as_str().map_or_else(|| default.to_string(), str::to_owned);
        }
        if let Some(queue) = text.strip_suffix(".Arn").filter(|id| self.resources.contains_key(*id)) {
            return format!("arn:aws:sqs:eu-central-1:{ACCOUNT}:{}", self.queue_name(queue));
        }
        match self.resources.get(text).map(|resource| resource["Type"].as_str().unwrap_or_default()) {
            Some("AWS::DynamoDB::Table") => table_name(text),
            Some("AWS::SQS::Queue") => self.queue_url(text),
            _ => text.to_owned(),
        }
    }

    /// A queue by the name of its resource.
    pub(crate) fn queue_name(&self, id: &str) -> String {
        let given = self.resources[id]["Properties"]["QueueName"].as_str();
        given.map_or_else(|| id.to_owned(), |name| name.replace("${AWS::StackName}", STACK))
    }

    /// The commands queues by slot, as agents and functions are told of them.
    pub(crate) fn commands_queues(&self) -> Vec<String> {
        self.variables("ApiFunction")["COMMANDS_QUEUE_URLS"].split(',').map(str::to_owned).collect()
    }

    pub(crate) fn queue_url(&self, id: &str) -> String {
        format!("{ENDPOINT}/{ACCOUNT}/{}", self.queue_name(id))
    }
}

/// `StateTable` is named `state`.
fn table_name(id: &str) -> String {
    id.strip_suffix("Table").unwrap_or(id).to_lowercase()
}

#[test]
fn the_template_names_what_stories_need() {
    let template = Template::read();
    let functions = template.functions();
    let named = |name: &str| functions.iter().find(|function| function.id == name).expect("a function");
    let (deliver, variables) = (named("DeliverFunction"), template.variables("DeliverFunction"));
    assert!(deliver.every_minute && deliver.memory_mib > 0);
    assert_eq!(variables["STATE_TABLE"], "state");
    assert_eq!(variables["DELIVERIES_QUEUE_URL"], "http://cloud-sim.invalid/000000000000/story-deliveries.fifo");
    assert_eq!(variables["RINGING_FRESH_SECONDS"], "30");
    let commands = template.commands_queues();
    assert_eq!(commands.len(), shared::tables::SLOTS);
    assert_eq!(commands[7], "http://cloud-sim.invalid/000000000000/CommandsQueue8");
    let events = &named("FanoutFunction").mappings[0];
    assert_eq!((events.queue.as_str(), events.batch_size, events.partial_responses), ("story-events.fifo", 10, true));
    let (_, queue) = template.queues().into_iter().find(|(name, _)| name == "story-events.fifo").expect("the queue");
    let redrive = queue["Attributes"]["RedrivePolicy"].as_str().expect("a policy");
    assert!(redrive.contains("story-events-dlq.fifo") && redrive.contains("maxReceiveCount"), "{redrive}");
}

/// The counts of log lines rest on it.
#[test]
fn lambda_itself_logs_only_what_is_wrong() {
    let template = Template::read();
    for (id, function) in template.of_type("AWS::Serverless::Function") {
        let logging = &function["Properties"]["LoggingConfig"];
        assert_eq!((&logging["LogFormat"], &logging["SystemLogLevel"]), (&json!("JSON"), &json!("WARN")), "{id}");
    }
}
