from __future__ import annotations

import asyncio
import re
from datetime import timedelta
from typing import Any

import pytest

from mismo_grpc.composition.blobs import BlobStores, open_blob_stores
from mismo_grpc.errors import InvalidFieldError
from mismo_grpc.settings import Settings
from mismo_grpc.storage.blobs.azure_account import DEVELOPMENT_KEY, AzureAccount, parse_connection_string

KEY = "c2VjcmV0IGtleQ=="
AZURITE = (
    "DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;"
    f"AccountKey={KEY};BlobEndpoint=http://azurite:10000/devstoreaccount1;"
)


@pytest.fixture(autouse=True)
def no_settings_of_the_environment(monkeypatch) -> None:
    for name in ("AZURE_STORAGE_CONNECTION_STRING", "BLOB_CONTAINER_NAME", "AWS_ACCESS_KEY_ID"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("text", "account"),
    [
        (AZURITE, AzureAccount("devstoreaccount1", "http://azurite:10000/devstoreaccount1", KEY)),
        (
            f"DefaultEndpointsProtocol=https;AccountName=dj;AccountKey={KEY};EndpointSuffix=core.windows.net",
            AzureAccount("dj", "https://dj.blob.core.windows.net", KEY),
        ),
        (
            f"accountname=dj;accountkey={KEY};endpointsuffix=core.chinacloudapi.cn",
            AzureAccount("dj", "https://dj.blob.core.chinacloudapi.cn", KEY),
        ),
        (
            "BlobEndpoint=https://dj.blob.core.windows.net/;SharedAccessSignature=?sv=2023&sig=a%3D",
            AzureAccount("dj", "https://dj.blob.core.windows.net", "", "sv=2023&sig=a%3D"),
        ),
        (
            "UseDevelopmentStorage=true",
            AzureAccount("devstoreaccount1", "http://127.0.0.1:10000/devstoreaccount1", DEVELOPMENT_KEY),
        ),
    ],
)
def test_connection_strings_are_read_as_the_portal_shows_them(text, account):
    assert parse_connection_string(text) == account
    assert KEY not in repr(account)
    assert "sig=" not in repr(account)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("secret", "Name=value"),
        ("AccountKey=c2VjcmV0", "AccountName or BlobEndpoint"),
        ("AccountName=dj", "either AccountKey or SharedAccessSignature"),
        ("AccountName=dj;AccountKey=c2VjcmV0;SharedAccessSignature=secret", "either"),
        ("AccountName=dj;AccountKey=secret!", "base64"),
        ("AccountName=dj;AccountKey=secret\N{EN DASH}", "base64"),
        ("BlobEndpoint=https://[secret;AccountKey=c2VjcmV0", "http or https address"),
        ("BlobEndpoint=secret;AccountKey=c2VjcmV0", "http or https address"),
        ("BlobEndpoint=https://secret@host;AccountKey=c2VjcmV0", "http or https address"),
    ],
)
def test_a_bad_connection_string_is_refused_without_being_told(text, problem):
    with pytest.raises(InvalidFieldError, match=problem) as caught:
        parse_connection_string(text)
    assert caught.value.field == "AZURE_STORAGE_CONNECTION_STRING"
    assert not re.search("secret|c2VjcmV0", caught.value.message)


def opened(**settings: Any) -> BlobStores:
    return open_blob_stores(Settings(**settings), asyncio.to_thread)


def test_without_settings_there_is_no_container():
    assert opened().container is None


def test_the_older_names_and_the_uri_name_the_same_container(monkeypatch):
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", AZURITE)
    monkeypatch.setenv("MISMO_BLOB_CONTAINER", "az://audio-files")
    new = opened().container
    monkeypatch.delenv("MISMO_BLOB_CONTAINER")
    monkeypatch.setenv("BLOB_CONTAINER_NAME", "audio-files")
    old = opened().container
    assert new is not None
    assert old is not None
    assert new.addresses == old.addresses
    assert new.http_url_of("a b.mp3") == "http://azurite:10000/devstoreaccount1/audio-files/a%20b.mp3"


def test_sources_are_read_beside_the_container():
    stores = opened(
        blob_container="file:///srv/blobs",
        blob_sources=["s3://music/in", "https://cdn.example.com"],
        s3_access_key_id="id",
        s3_secret_access_key="key",
        s3_endpoint="http://localhost:9000/",
    )
    assert (
        stores.sources.locate("s3://music/in/a.mp3")[0].http_url_of("a.mp3")
        == "http://localhost:9000/music/in/a.mp3"
    )
    assert stores.sources.locate("https://cdn.example.com/a/b.mp3")[1] == "a/b.mp3"
    assert stores.sources.locate("file:///srv/blobs/a.wav")[0] is stores.container


@pytest.mark.parametrize(
    ("settings", "field", "remedy"),
    [
        ({"blob_container": "az://audio"}, "MISMO_BLOB_CONTAINER", "set AZURE_STORAGE_CONNECTION_STRING"),
        ({"blob_container_name": "audio"}, "BLOB_CONTAINER_NAME", "set AZURE_STORAGE_CONNECTION_STRING"),
        (
            {
                "blob_container": "az://audio",
                "blob_container_name": "b",
                "azure_storage_connection_string": AZURITE,
            },
            "MISMO_BLOB_CONTAINER",
            "remove one",
        ),
        ({"blob_container": "audio-files"}, "MISMO_BLOB_CONTAINER", "give az://container"),
        ({"blob_container": "gs://audio-files"}, "MISMO_BLOB_CONTAINER", "give az://container"),
        (
            {"blob_container": "az://a/b", "azure_storage_connection_string": AZURITE},
            "MISMO_BLOB_CONTAINER",
            "give az",
        ),
        ({"blob_container": "file://"}, "MISMO_BLOB_CONTAINER", "give az://container"),
        ({"blob_container": "file:///a/../b"}, "MISMO_BLOB_CONTAINER", "none of them empty"),
        ({"blob_container": "s3://bucket?x=secret"}, "MISMO_BLOB_CONTAINER", "no user, query and fragment"),
        ({"blob_container": "s3://key:secret@bucket"}, "MISMO_BLOB_CONTAINER", "no user, query and fragment"),
        ({"blob_container": "s3://key:secret@bucket:port"}, "MISMO_BLOB_CONTAINER", "malformed"),
        ({"blob_sources": ["https://host:port/a?sig=secret"]}, "MISMO_BLOB_SOURCES", "malformed"),
        ({"blob_container": "http://[host"}, "MISMO_BLOB_CONTAINER", "web server"),
        ({"blob_container": "https://host/path"}, "MISMO_BLOB_CONTAINER", "web server"),
        ({"blob_sources": ["file:///music"]}, "MISMO_BLOB_SOURCES", "MISMO_ALLOWED_PATH_PREFIXES"),
        ({"blob_sources": ["https://"]}, "MISMO_BLOB_SOURCES", "give az://container"),
        ({"s3_access_key_id": "secret"}, "MISMO_S3_SECRET_ACCESS_KEY", "together"),
        ({"s3_secret_access_key": "secret"}, "MISMO_S3_ACCESS_KEY_ID", "together"),
        ({"s3_endpoint": "localhost:9000"}, "MISMO_S3_ENDPOINT", "such as https://"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named_with_the_remedy(settings, field, remedy):
    with pytest.raises(InvalidFieldError, match=re.escape(remedy)) as caught:
        opened(**settings)
    assert caught.value.field == field
    assert field in caught.value.message
    assert "secret" not in caught.value.message


def test_no_credential_is_in_the_settings_text():
    given: dict[str, Any] = {
        "azure_storage_connection_string": AZURITE,
        "s3_access_key_id": "key-id",
        "s3_secret_access_key": "key-itself",
        "s3_session_token": "token",
    }
    settings = Settings(**given)
    assert not any(secret in repr(settings) for secret in (KEY, "key-id", "key-itself", "'token'"))


async def test_credentials_of_the_settings_are_not_mixed_with_those_of_the_environment(monkeypatch):
    foreign = {
        "AWS_ACCESS_KEY_ID": "foreign",
        "AWS_SECRET_ACCESS_KEY": "foreign",
        "AWS_SESSION_TOKEN": "foreign",
        "AWS_SKIP_SIGNATURE": "true",
        "AWS_ENDPOINT": "http://foreign",
        "AZURE_STORAGE_SAS_KEY": "sig=foreign",
        "AZURE_STORAGE_TOKEN": "foreign",
        "AZURE_STORAGE_ACCOUNT_NAME": "foreign",
        "AZURE_STORAGE_ENDPOINT": "http://foreign",
    }
    for name, value in foreign.items():
        monkeypatch.setenv(name, value)
    keys = {
        "s3_access_key_id": "our-id",
        "s3_secret_access_key": "our-key",
        "s3_endpoint": "http://localhost:9000",
    }
    in_s3 = opened(blob_container="s3://audio", **keys).container
    in_azure = opened(blob_container="az://audio", azure_storage_connection_string=AZURITE).container
    temporary = opened(blob_container="s3://audio", s3_session_token="our-token", **keys).container
    assert in_s3 is not None
    assert in_azure is not None
    assert temporary is not None
    links = [await store.signed_url("a.wav", timedelta(minutes=1)) for store in (in_s3, in_azure, temporary)]
    assert not any("foreign" in link for link in links)
    assert "our-id" in links[0]
    assert "Security-Token" not in links[0]
    assert "Security-Token=our-token" in links[2]
