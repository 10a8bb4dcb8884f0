"""A mail server that stores the mails that it receives: server.py MODE PORT DIR CERTIFICATE KEY

MODE is plain, starttls or implicit; with the latter two nobody gets anywhere without TLS and the
login of backups@example.com with the password "mail secret". Each mail becomes a file DIR/<n>.json.
"""

import asyncio
import json
import os
import ssl
import sys

from aiosmtpd.smtp import SMTP, AuthResult

mode, port, directory, certificate, key = sys.argv[1:]


class Keeper:
    number = 0

    async def handle_DATA(self, server, session, envelope):
        self.number += 1
        mail = {
            "from": envelope.mail_from,
            "to": envelope.rcpt_tos,
            "tls": session.ssl is not None or mode == "implicit",
            "login": session.auth_data,
            "data": envelope.content.decode(),
        }
        path = os.path.join(directory, f"{self.number}.json")
        with open(path + ".part", "w") as file:
            json.dump(mail, file)
        # The file appears when it is complete.
        os.rename(path + ".part", path)
        return "250 kept"


def log_in(server, session, envelope, mechanism, data):
    good = (data.login, data.password) == (b"backups@example.com", b"mail secret")
    return AuthResult(success=good, handled=False, auth_data=data.login.decode())


async def main():
    context = None
    if mode != "plain":
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
    keeper = Keeper()
    options = {"enable_SMTPUTF8": True}
    if mode != "plain":
        options |= {"authenticator": log_in, "auth_required": True}
    if mode == "starttls":
        options |= {"tls_context": context, "require_starttls": True}
    if mode == "implicit":
        options["auth_require_tls"] = False
    serve = asyncio.get_running_loop().create_server(
        lambda: SMTP(keeper, **options), "127.0.0.1", int(port), ssl=context if mode == "implicit" else None
    )
    async with await serve as server:
        await server.serve_forever()


asyncio.run(main())
