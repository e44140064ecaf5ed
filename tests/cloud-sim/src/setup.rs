//! What a test makes, sends and receives by itself, at once and beside all clients.

use serde_json::{Value as Json, json};

use crate::cloud::Cloud;
use crate::queues::ARN;

impl Cloud {
    /// A table with the keys `pk` and `sk`, and `expiresAt` as its time to live.
    pub fn make_table(&self, name: &str) {
        let key = |name: &str, kind: &str| json!({"AttributeName": name, "KeyType": kind});
        let attribute = |name: &str| json!({"AttributeName": name, "AttributeType": "S"});
        let table = json!({
            "TableName": name,
            "BillingMode": "PAY_PER_REQUEST",
            "KeySchema": [key("pk", "HASH"), key("sk", "RANGE")],
            "AttributeDefinitions": [attribute("pk"), attribute("sk")],
        });
        self.ask("DynamoDB_20120810.CreateTable", &table);
        let ttl = json!({"AttributeName": "expiresAt", "Enabled": true});
        self.ask("DynamoDB_20120810.UpdateTimeToLive", &json!({"TableName": name, "TimeToLiveSpecification": ttl}));
    }

    /// A FIFO queue in high-throughput mode, with these attributes beside; returns its URL.
    pub fn make_fifo(&self, name: &str, attributes: &[(&str, &str)]) -> String {
        let mut all = json!({
            "FifoQueue": "true",
            "DeduplicationScope": "messageGroup",
            "FifoThroughputLimit": "perMessageGroupId",
        });
        for (attribute, value) in attributes {
            all[*attribute] = json!(value);
        }
        let made = self.ask("AmazonSQS.CreateQueue", &json!({"QueueName": name, "Attributes": all}));
        made["QueueUrl"].as_str().unwrap_or_default().to_owned()
    }

    /// Sends a message to the FIFO queue with this URL.
    pub fn send_fifo(&self, url: &str, group: &str, dedup: &str, body: &str) {
        let message = json!({
            "QueueUrl": url,
            "MessageBody": body,
            "MessageGroupId": group,
            "MessageDeduplicationId": dedup,
        });
        self.ask("AmazonSQS.SendMessage", &message);
    }

    /// Receives from the queue with this URL, and returns the messages as the records that a function is invoked with.
    pub fn receive_records(&self, url: &str) -> Vec<Json> {
        let queue = url.rsplit('/').next().unwrap_or_default();
        let wanted = json!({"QueueUrl": url, "MaxNumberOfMessages": 10, "AttributeNames": ["All"]});
        let received = self.ask("AmazonSQS.ReceiveMessage", &wanted);
        let record = |message: &Json| {
            json!({
                "messageId": message["MessageId"],
                "receiptHandle": message["ReceiptHandle"],
                "body": message["Body"],
                "attributes": message["Attributes"],
                "messageAttributes": {},
                "eventSourceARN": format!("{ARN}{queue}"),
            })
        };
        received["Messages"].as_array().map(|messages| messages.iter().map(record).collect()).unwrap_or_default()
    }

    /// Like [`Cloud::answer`], for what has to succeed.
    ///
    /// # Panics
    ///
    /// If it does not.
    pub fn ask(&self, target: &str, body: &Json) -> Json {
        let answer = self.answer(target, body.to_string().as_bytes());
        let text = String::from_utf8_lossy(&answer.body);
        assert_eq!(answer.status, 200, "{target}: {text}");
        serde_json::from_str(&text).unwrap_or_default()
    }
}
