"""Has botocore send the headers in which a service says for whom it asks, before it signs. They come from
settings of the profile. It is a plugin of the AWS CLI, too."""

HEADERS = {
    "on_behalf_of": "X-Kms11-On-Behalf-Of",
    "source_arn": "X-Amz-Source-Arn",
    "source_account": "X-Amz-Source-Account",
}


def register(events, profile):
    def add(request, **_):
        for setting, header in HEADERS.items():
            if setting in profile:
                request.headers.add_header(header, profile[setting])

    events.register("before-sign.kms", add, unique_id="service_headers")


def awscli_initialize(cli):
    cli.register("session-initialized", lambda session, **_: register(session, session.get_scoped_config()))
