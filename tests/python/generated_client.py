"""Lists the users and makes a call with the package that openapi-python-client generated from the API's own OpenAPI file.

Prints both answers as JSON, as the package's models have them. `tests/e2e/tools.rs` judges it.
"""

import argparse
import json
import sys
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--packages", type=Path, required=True, help="folder that holds the generated package")
    parser.add_argument("--url", required=True, help="base URL of the API")
    parser.add_argument("--key", required=True, help="API key")
    arguments = parser.parse_args()

    sys.path.insert(0, str(arguments.packages))
    from easyconnect_client import AuthenticatedClient
    from easyconnect_client.api.call_control import make_call
    from easyconnect_client.api.users_and_calls import get_users
    from easyconnect_client.models import MakeCallRequest

    with AuthenticatedClient(base_url=arguments.url, token=arguments.key, raise_on_unexpected_status=True) as client:
        users = get_users.sync(client=client)
        call = make_call.sync(client=client, body=MakeCallRequest(from_="77", to="50"))
    print(json.dumps({"users": users.to_dict(), "call": call.to_dict()}))


if __name__ == "__main__":
    main()
