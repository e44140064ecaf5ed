"""Verifies webhooks as a receiver in Python would.

Standard input: `{"secret", "cases": [{"headers", "content"}]}`; printed: a list that says for each case whether it is genuine.
"""

import json
import sys

from standardwebhooks import Webhook, WebhookVerificationError

given = json.load(sys.stdin)
webhook = Webhook(given["secret"])


def is_genuine(case: dict) -> bool:
    try:
        # The query string of a GET is no JSON.
        webhook.verify(case["content"], case["headers"], json_parse=False)
    except WebhookVerificationError:
        return False
    return True


print(json.dumps([is_genuine(case) for case in given["cases"]]))
