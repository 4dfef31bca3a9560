"""AWS's Price List and spot history as AWS answers them, from a server on this computer.

moto can't stand in here: its Price List answers 500 and its spot history is one constant. The answers have the forms of
AWS's own references (Price List Query API, GetProducts: JSON 1.1 whose list holds JSON as text; EC2 Query API: XML).
"""

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

XMLNS = "http://ec2.amazonaws.com/doc/2016-11-15/"
ZONES = {"us-east-1a": "use1-az6", "us-east-1b": "use1-az1"}  # the names of one account


def product(name: str, region: str, usd: str) -> str:
    """One entry of GetProducts' PriceList."""
    sku = f"SKU{abs(hash((name, region))) % 10**6}"
    return json.dumps(
        {
            "product": {
                "productFamily": "Compute Instance",
                "attributes": {
                    "servicecode": "AmazonEC2",
                    "instanceType": name,
                    "regionCode": region,
                    "operatingSystem": "Linux",
                    "tenancy": "Shared",
                    "preInstalledSw": "NA",
                    "capacitystatus": "Used",
                },
                "sku": sku,
            },
            "serviceCode": "AmazonEC2",
            "terms": {
                "OnDemand": {
                    f"{sku}.JRTCKXETXF": {
                        "priceDimensions": {
                            f"{sku}.JRTCKXETXF.6YS6EN2CT7": {
                                "unit": "Hrs",
                                "endRange": "Inf",
                                "beginRange": "0",
                                "appliesTo": [],
                                "pricePerUnit": {"USD": usd},
                            }
                        },
                        "sku": sku,
                        "offerTermCode": "JRTCKXETXF",
                        "termAttributes": {},
                    }
                },
                "Reserved": {},
            },
            "version": "20261120",
            "publicationDate": "2026-11-20T00:00:00Z",
        }
    )


class CannedAws:
    """What the server answers, and what it was asked."""

    def __init__(self) -> None:
        self.on_demand: dict[tuple[str, str], str] = {}  # (type, region) -> USD as text
        self.spot: list[tuple[str, str, str, str]] = []  # type, zone's name, USD, time
        self.refusals: dict[str, tuple[int, str]] = {}  # action -> HTTP status, AWS's code
        self.hang: threading.Event | None = None
        self.asked: list[str] = []
        self.keys: set[str] = set()  # with which it was asked
        self.url = ""

    def answer(self, action: str, asked: Mapping[str, Any]) -> tuple[str, str]:
        """(type of content, body) of an action."""
        if action == "GetProducts":
            wanted = {each["Field"]: each["Value"] for each in asked["Filters"]}
            key = (wanted["instanceType"], wanted["regionCode"])
            found = [product(*key, self.on_demand[key])] if key in self.on_demand else []
            return "application/x-amz-json-1.1", json.dumps({"FormatVersion": "aws_v1", "PriceList": found})
        if action == "DescribeAvailabilityZones":
            items = "".join(
                f"<item><zoneName>{name}</zoneName><zoneId>{zone}</zoneId><zoneState>available</zoneState></item>"
                for name, zone in ZONES.items()
            )
            return "text/xml", _xml(action, f"<availabilityZoneInfo>{items}</availabilityZoneInfo>")
        names = [value for key, (value, *_) in asked.items() if key.startswith("InstanceType.")]
        items = "".join(
            f"<item><instanceType>{name}</instanceType><productDescription>Linux/UNIX</productDescription>"
            f"<spotPrice>{usd}</spotPrice><timestamp>{when}</timestamp><availabilityZone>{zone}</availabilityZone></item>"
            for name, zone, usd, when in self.spot
            if name in names
        )
        return "text/xml", _xml(action, f"<spotPriceHistorySet>{items}</spotPriceHistorySet><nextToken/>")


def _xml(action: str, inner: str) -> str:
    return f'<{action}Response xmlns="{XMLNS}"><requestId>r-1</requestId>{inner}</{action}Response>'


@contextmanager
def serving(aws: CannedAws) -> Iterator[CannedAws]:
    """The server, until the end of the block."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            """Nothing is logged."""

        def do_POST(self) -> None:
            text = self.rfile.read(int(self.headers["Content-Length"])).decode()
            target = self.headers.get("X-Amz-Target", "")
            asked: Mapping[str, Any] = json.loads(text) if target else parse_qs(text)
            action = target.partition(".")[2] or asked["Action"][0]
            aws.asked.append(action)
            aws.keys.add(self.headers["Authorization"].partition("Credential=")[2].partition("/")[0])
            if aws.hang is not None:
                aws.hang.wait(30)
            status, (kind, body) = 200, ("", "")
            if action in aws.refusals:
                status, code = aws.refusals[action]
                kind = "application/x-amz-json-1.1" if target else "text/xml"
                body = (
                    json.dumps({"__type": code, "message": "not you"})
                    if target
                    else f"<Response><Errors><Error><Code>{code}</Code><Message/></Error></Errors></Response>"
                )
            else:
                kind, body = aws.answer(action, asked)
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body.encode())))
            self.end_headers()
            self.wfile.write(body.encode())

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    aws.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield aws
    finally:
        if aws.hang is not None:
            aws.hang.set()
        server.shutdown()
        thread.join()
        server.server_close()
