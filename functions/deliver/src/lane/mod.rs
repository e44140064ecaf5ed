//! The lane that a webhook has for itself: what is parked, who sends it, and how the webhook is doing meanwhile.

mod protocol;
