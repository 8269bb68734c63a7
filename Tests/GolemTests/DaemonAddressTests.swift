import Foundation
import Golem
import Testing

@Suite("The daemon's address")
struct DaemonAddressTests {
    @Test(
        "addresses are read as they are meant",
        arguments: [
            ("http://127.0.0.1:7465", "http://127.0.0.1:7465"), ("http://127.0.0.1:7465/", "http://127.0.0.1:7465"),
            ("HTTP://localhost", "http://localhost:80"), ("https://yagna.example", "https://yagna.example:443"),
            ("http://[::1]:7465", "http://[::1]:7465"), ("https://[2001:db8::1]", "https://[2001:db8::1]:443"),
            ("https://host:1/golem/node//", "https://host:1/golem/node"), ("http://h:65535", "http://h:65535"),
        ])
    func good(text: String, meaning: String) throws {
        #expect(try DaemonAddress(text).description == meaning)
    }

    @Test(
        "what is no address is refused with what is wrong about it",
        arguments: [
            ("", "is empty"), ("127.0.0.1:7465", "http://127.0.0.1:7465?"), ("ftp://host", "neither http nor https"),
            ("http://", "names no host"), ("http://:7465", "names no host"), ("http:///path", "names no host"),
            ("http://h:99999", "ports are numbers from 1 to 65535"), ("http://h:0", "from 1 to 65535"),
            ("http://h:", "from 1 to 65535"), ("http://h:+80", "from 1 to 65535"), ("http://h:80x", "from 1 to 65535"),
            ("http://h:99999999999999999999", "from 1 to 65535"), ("http://::1:7465", "http://[::1]:7465"),
            ("http://[::1", "without its ]"), ("http://[::1]x", "goes on behind"),
            ("http://[host]:1", "no IPv6 address"),
            ("http://h h", "blank"), ("http://h\r\nX: y", "blank"), ("http://h\u{e4}", "cannot hold"),
            ("http://user:secret@host", "user or a password"), ("http://h/?a=b", "query"), ("http://h#x", "fragment"),
        ])
    func bad(text: String, says: String) {
        let error = #expect(throws: GolemError.self) { try DaemonAddress(text) }
        #expect(error?.code == .usage && error?.description.contains(says) == true, "\(error?.description ?? "")")
    }

    @Test("a path in front of the daemon's own is kept")
    func paths() async throws {
        try await ScriptedServer.with { request in
            .json(["identity": .string("0xme"), "name": .string(request.path), "role": "manager"])
        } _: { client, _ in
            let behind = try GolemClient(url: "\(client.address)/behind/proxy", appKey: "key")
            #expect(try await behind.me().name == "/behind/proxy/me")
        }
    }

    @Test("IPv6 is spoken", .enabled(if: FileManager.default.fileExists(atPath: "/proc/net/if_inet6"), "no IPv6 here"))
    func overIPv6() async throws {
        let server = try await ScriptedServer(host: "::1") { _ in .json(["identity": "0xsix", "name": "", "role": ""]) }
        #expect(try await GolemClient(url: server.url, appKey: "key").me().nodeID == "0xsix")
        await server.stop()
    }

    @Test("https to something that speaks http is said to be so")
    func plainForSecure() async throws {
        try await ScriptedServer.with { _ in
            .json([:])
        } _: { client, _ in
            let address = client.address.description.replacing("http://", with: "https://")
            let error = await #expect(throws: GolemError.self) {
                try await GolemClient(url: address, appKey: "key").me()
            }
            #expect(
                error?.code == .untrusted && error?.hint?.contains("http://") == true, "\(String(describing: error))")
        }
    }
}
