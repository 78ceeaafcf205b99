"""Calls the emulated API with DigitalOcean's Python client, over https; fails by an exception."""

import base64
import json
import os

from pydo import Client

api = Client(token=os.environ["TOKEN"], endpoint=os.environ["ENDPOINT"])

assert api.account.get()["account"]["status"] == "active"

clusters = api.kubernetes.list_clusters()
assert clusters["meta"]["total"] == 1, clusters
cluster = clusters["kubernetes_clusters"][0]
assert cluster["status"]["state"] == "running", cluster

credentials = api.kubernetes.get_credentials(cluster["id"], expiry_seconds=60)
assert credentials["server"].startswith("https://"), credentials
assert b"BEGIN CERTIFICATE" in base64.b64decode(credentials["certificate_authority_data"])

registry = api.registry.get()["registry"]
login = api.registry.get_docker_credentials(read_write=True, expiry_seconds=60)
user, password = base64.b64decode(login["auths"]["registry.digitalocean.com"]["auth"]).decode().split(":")
assert user == password, login
assert [r["name"] for r in api.registries.list()["registries"]] == [registry["name"]]

name = registry["name"]
assert api.registry.get_garbage_collection(name)["id"] == "not_found"
started = api.registry.run_garbage_collection(name, body={"type": "unreferenced blobs only"})["garbage_collection"]
assert started["status"] == "requested", started
assert api.registry.get_garbage_collection(name)["garbage_collection"]["uuid"] == started["uuid"]
cancelled = api.registry.update_garbage_collection(name, started["uuid"], body={"cancel": True})["garbage_collection"]
assert cancelled["status"] == "cancelling", cancelled
assert [gc["uuid"] for gc in api.registry.list_garbage_collections(name)["garbage_collections"]] == [started["uuid"]]

created = api.load_balancers.create(body={
    "name": "python", "region": "nyc1", "type": "REGIONAL",
    "forwarding_rules": [{"entry_protocol": "tcp", "entry_port": 80, "target_protocol": "tcp", "target_port": 30080}],
})["load_balancer"]
assert created["status"] == "new", created
assert [b["name"] for b in api.load_balancers.list()["load_balancers"]] == ["python"]
api.load_balancers.delete(created["id"])
assert api.load_balancers.get(created["id"])["id"] == "not_found"

print(json.dumps({"cluster": cluster["name"], "registry": registry["name"]}))
