# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""A BMC that speaks Redfish.

Sources: DMTF DSP0266 (the protocol, with HTTP Basic authentication) and its schema ComputerSystem.
"""

from __future__ import annotations

import json
import typing as t
import urllib.error
import urllib.parse

from ansible.module_utils.urls import ConnectionError as UrlsError
from ansible.module_utils.urls import open_url

from ansible_collections.virtops.balance.plugins.plugin_utils._host_power.switch import PowerError

Json = dict[str, t.Any]

_SECONDS = 30
_SYSTEMS = "/redfish/v1/Systems"
# PoweringOff is still on; Paused is a system whose processors stand still and that draws power.
_STATES = {"On": True, "PoweringOn": True, "PoweringOff": True, "Paused": True, "Off": False}


class Redfish:
    """Switches by the action Reset of one ComputerSystem."""

    name: t.Final = "bmc"
    again: t.Final = False

    def __init__(
        self,
        *,
        url: str,
        system: str | None,
        user: str | None,
        password: str | None,
        validate_certs: bool,
        ca_path: str | None,
    ) -> None:
        if urllib.parse.urlsplit(url).scheme not in ("http", "https"):
            raise PowerError(f"redfish.url must be a URL such as https://bmc1.example.org, but it is {url!r}.")
        self._url, self._system = url.rstrip("/"), system
        self._how = {
            "url_username": user,
            "url_password": password,
            "force_basic_auth": user is not None,
            "validate_certs": validate_certs,
            "ca_path": ca_path,
            "timeout": _SECONDS,
        }

    def power(self) -> bool:
        said = self._read().get("PowerState")
        if said not in _STATES:
            raise PowerError(f"The BMC at {self._url} did not say whether the power is on: its PowerState is {said!r}.")
        return _STATES[said]

    def on(self) -> None:
        self._reset("On")

    def off(self, *, hard: bool) -> None:
        self._reset("ForceOff" if hard else "GracefulShutdown")

    def _read(self) -> Json:
        return self._ask(self._path())

    def _path(self) -> str:
        if self._system is not None:
            return f"{_SYSTEMS}/{urllib.parse.quote(self._system, safe='')}"
        members = self._ask(_SYSTEMS).get("Members")
        paths = [member.get("@odata.id") for member in members or [] if isinstance(member, dict)]
        if len(paths) != 1 or not isinstance(paths[0], str):
            names = ", ".join(str(path).rpartition("/")[2] for path in paths) or "none"
            raise PowerError(
                f"The BMC at {self._url} has not one system but these: {names}. Name one with redfish.system."
            )
        return paths[0]

    def _reset(self, kind: str) -> None:
        action = (self._read().get("Actions") or {}).get("#ComputerSystem.Reset") or {}
        target, allowed = action.get("target"), action.get("ResetType@Redfish.AllowableValues")
        if not isinstance(target, str):
            raise PowerError(f"The system of the BMC at {self._url} has no action #ComputerSystem.Reset.")
        if isinstance(allowed, list) and kind not in allowed:
            raise PowerError(f"The BMC at {self._url} does not know {kind}, but: {', '.join(map(str, allowed))}.")
        self._ask(target, {"ResetType": kind})

    def _ask(self, path: str, body: Json | None = None) -> Json:
        # Only the path of what the BMC names: the password goes to no other machine.
        url = urllib.parse.urljoin(f"{self._url}/", urllib.parse.urlsplit(path).path)
        headers = {"Accept": "application/json", "OData-Version": "4.0"}
        try:
            with open_url(
                url,
                method="GET" if body is None else "POST",
                data=None if body is None else json.dumps(body),
                headers=headers if body is None else {**headers, "Content-Type": "application/json"},
                **self._how,
            ) as response:
                text = response.read()
        except urllib.error.HTTPError as error:
            error.close()
            raise PowerError(f"The BMC at {self._url} answers {error.code} ({error.reason}) to {path}.") from error
        except (OSError, UrlsError) as error:
            reason = getattr(error, "reason", None) or error
            raise PowerError(f"The BMC at {self._url} does not answer: {str(reason).rstrip('.')}.") from error
        if body is not None:
            return {}
        try:
            document = json.loads(text)
        except ValueError:
            document = None
        if not isinstance(document, dict):
            raise PowerError(f"What the BMC at {self._url} answers to {path} is not Redfish's JSON.")
        return document
