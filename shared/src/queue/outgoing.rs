//! Messages on their way into a queue, and how many of them go in one request.

use std::collections::HashSet;
use std::ops::Range;

/// SQS takes and gives at most this many messages at once.
pub const BATCH: usize = 10;

/// SQS takes a mebibyte at once since 2025, but a queue may be set to less, and other implementations still are. It counts each 64 KiB
/// as a request, so that longer batches would not even be cheaper.
const BATCH_BYTES: usize = 256 * 1024;

/// Ordinary messages have a few kilobytes.
const LONG: usize = 64 * 1024;

/// One message for a FIFO queue.
#[derive(Clone, Debug)]
pub struct Outgoing {
    pub group: String,
    pub dedup: String,
    pub body: String,
}

/// Whether the queue took a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Taken {
    Yes,
    No {
        code: String,
        /// The message itself is at fault; it would be refused again.
        hopeless: bool,
    },
}

impl Taken {
    pub fn is_yes(&self) -> bool {
        *self == Self::Yes
    }

    /// SQS calls every refusal the sender's fault that is not its own, also a request that is throttled or not allowed, or a queue that
    /// does not fit. Only what is said of the content of a message holds for ever.
    pub(super) fn judged(self, body: &str) -> Self {
        match self {
            Self::No { code, hopeless: true } => {
                let name = code.rsplit('.').next().unwrap_or_default();
                let hopeless = match name {
                    "InvalidMessageContents" | "MessageTooLong" => true,
                    // Said of a message that is too long, but also of settings that the queue does not have.
                    "InvalidParameterValue" => body.len() > LONG,
                    _ => false,
                };
                Self::No { code, hopeless }
            }
            other => other,
        }
    }

    /// The queue's answer, or the whole answer, did not come.
    pub fn unanswered() -> Self {
        Self::No { code: "no answer".to_owned(), hopeless: false }
    }
}

/// What fits into one request.
#[derive(Debug, Default)]
pub struct Room {
    messages: usize,
    bytes: usize,
}

impl Room {
    /// Whether another message fits; if so, it counts from now on. Into an empty request everything fits: a message that is too long is
    /// the queue's to refuse.
    pub fn takes(&mut self, body: &str) -> bool {
        let bytes = self.bytes + body.len();
        let fits = self.messages == 0 || (self.messages < BATCH && bytes <= BATCH_BYTES);
        if fits {
            *self = Self { messages: self.messages + 1, bytes };
        }
        fits
    }
}

/// Cuts messages into requests, in their order. Two of one group are never in the same request: if the first one were refused, the second
/// would stand before it.
pub fn chunks(messages: &[Outgoing]) -> Vec<Range<usize>> {
    let mut chunks: Vec<Range<usize>> = Vec::new();
    let (mut room, mut groups) = (Room::default(), HashSet::new());
    for (at, message) in messages.iter().enumerate() {
        let fits = groups.insert(message.group.as_str()) && room.takes(&message.body);
        match chunks.last_mut().filter(|_| fits) {
            Some(chunk) => chunk.end = at + 1,
            None => {
                (room, groups) = (Room::default(), HashSet::from([message.group.as_str()]));
                room.takes(&message.body);
                chunks.push(at..at + 1);
            }
        }
    }
    chunks
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(group: usize, bytes: usize) -> Outgoing {
        Outgoing { group: group.to_string(), dedup: String::new(), body: "x".repeat(bytes) }
    }

    fn of_sizes(sizes: &[usize]) -> Vec<Range<usize>> {
        chunks(&sizes.iter().enumerate().map(|(group, bytes)| message(group, *bytes)).collect::<Vec<_>>())
    }

    #[test]
    fn chunks_respect_the_queue_s_limits() {
        assert!(of_sizes(&[]).is_empty());
        assert_eq!(of_sizes(&[10; 23]), [0..10, 10..20, 20..23]);
        assert_eq!(of_sizes(&[200_000, 62_144, 1]), [0..2, 2..3]);
        assert_eq!(of_sizes(&[9, 300_000, 9, 9]), [0..1, 1..2, 2..4]);
    }

    #[test]
    fn only_what_is_said_of_the_content_is_hopeless() {
        let is_hopeless = |code: &str, bytes: usize| {
            let taken = Taken::No { code: code.to_owned(), hopeless: true }.judged(&"x".repeat(bytes));
            matches!(taken, Taken::No { hopeless: true, .. })
        };
        for code in [
            "ThrottlingException",
            "RequestThrottled",
            "KmsThrottled",
            "AccessDenied",
            "AWS.SimpleQueueService.NonExistentQueue",
        ] {
            assert!(!is_hopeless(code, 1_000), "{code}");
        }
        assert!(is_hopeless("InvalidMessageContents", 1_000));
        assert!(is_hopeless("AWS.SimpleQueueService.InvalidMessageContents", 1_000));
        assert!(!is_hopeless("InvalidParameterValue", 1_000), "the queue may be a wrong one");
        assert!(is_hopeless("InvalidParameterValue", 300_000));
    }

    #[test]
    fn a_group_is_never_twice_in_a_chunk() {
        let groups = |groups: &[usize]| chunks(&groups.iter().map(|group| message(*group, 1)).collect::<Vec<_>>());
        assert_eq!(groups(&[1, 2, 1, 2, 3, 3]), [0..2, 2..5, 5..6]);
    }
}
