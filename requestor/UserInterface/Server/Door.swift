import Foundation
import Hummingbird
import Synchronization
import Tensors

/// Who may come in: only a browser that was given the address with the token, only under a name of this server, and no page of
/// another.
///
/// * The token is in the address that is printed. Whoever brings it gets a cookie (HttpOnly, SameSite=Strict) with another
///   secret, and an address without the token.
/// * `Host` must be an address of this server: a name that somebody lets point here (DNS rebinding) is refused.
/// * What changes something must come from a page of this server, as its `Origin` says; so must everything that says from
///   where it comes.
final class Door: RouterMiddleware {
    /// In the address that is printed.
    let token: String
    private let secret: String
    private let host: String
    private let port = Mutex(0)

    /// - Parameter host: the address that is listened on.
    init(host: String, token: String = Door.secret(), session: String = Door.secret()) {
        self.host = host
        self.token = token
        secret = session
    }

    /// Known once the server listens.
    func opened(on port: Int) { self.port.withLock { $0 = port } }

    /// 192 bits of the system's generator.
    static func secret() -> String {
        var generator = SystemRandomNumberGenerator()
        return (0..<3).map { _ in
            let digits = String(generator.next() as UInt64, radix: 16)
            return String(repeating: "0", count: 16 - digits.count) + digits
        }.joined()
    }

    /// What a person opens.
    var address: String { "http://\(Self.shown(host)):\(port.withLock { $0 })/?token=\(token)" }

    private static func shown(_ host: String) -> String {
        switch host {
        case "0.0.0.0", "::": "127.0.0.1"
        default: host.contains(":") ? "[\(host)]" : host
        }
    }

    static func isLoopback(_ host: String) -> Bool { host.hasPrefix("127.") || host == "::1" || host == "localhost" }

    func handle(
        _ request: Request, context: PageContext, next: (Request, PageContext) async throws -> Response
    ) async throws -> Response {
        var response: Response
        do { response = try await admitted(request, context, next) } catch { response = PageError(error).response }
        for (name, value) in Self.headers where response.headers[name] == nil { response.headers[name] = value }
        return response
    }

    private func admitted(
        _ request: Request, _ context: PageContext, _ next: (Request, PageContext) async throws -> Response
    ) async throws -> Response {
        let authority = request.head.authority ?? ""
        guard isOwn(authority) else {
            throw PageError(
                .misdirectedRequest, "this server is not called so", place: authority,
                hint: "open the address that deml ui has printed")
        }
        let isSafe = request.method == .get || request.method == .head
        if let origin = request.headers[.origin] {
            guard origin == "http://\(authority)" else {
                throw PageError(.forbidden, "a page of another place may not ask this", place: origin)
            }
        } else if !isSafe {
            throw PageError(.forbidden, "it is not said which page asks this", place: "Origin")
        }
        if let site = request.headers[Self.fetchSite], site != "same-origin", site != "none",
            !isSafe || request.uri.path.hasPrefix("/api/")
        {
            throw PageError(.forbidden, "a page of another place may not ask this", place: "Sec-Fetch-Site: \(site)")
        }
        if request.method == .get, request.uri.path == "/", let given = request.query("token") {
            guard Self.isEqual(given, token) else { return Self.closed(.unauthorized) }
            return Response(
                status: .seeOther,
                headers: [
                    .location: "/", .cacheControl: "no-store",
                    .setCookie: "\(cookie)=\(secret); Path=/; HttpOnly; SameSite=Strict",
                ])
        }
        guard request.uri.path.hasPrefix("/assets/") || hasCookie(request) else {
            if request.uri.path.hasPrefix("/api/") {
                throw PageError(
                    .unauthorized, "this page is not known here, or deml ui was started again",
                    hint: "open the address that deml ui has printed")
            }
            return Self.closed(.unauthorized)
        }
        return try await next(request, context)
    }

    /// Cookies are shared by all ports of a host, so the port is part of the name.
    private var cookie: String { "deml_ui_\(port.withLock { $0 })" }

    private func hasCookie(_ request: Request) -> Bool {
        let name = cookie
        return request.headers[values: .cookie].contains { header in
            header.split(separator: ";").contains { pair in
                let parts = pair.split(separator: "=", maxSplits: 1)
                return parts.count == 2 && parts[0].drop { $0 == " " } == name && Self.isEqual(String(parts[1]), secret)
            }
        }
    }

    /// Takes the same time wherever they differ.
    static func isEqual(_ left: String, _ right: String) -> Bool {
        let (left, right) = (Array(left.utf8), Array(right.utf8))
        guard left.count == right.count else { return false }
        return zip(left, right).reduce(UInt8(0)) { $0 | ($1.0 ^ $1.1) } == 0
    }

    /// Whether `Host` names this server. Where it listens to others too, any address made of numbers does: only names can be
    /// made to point somewhere else.
    private func isOwn(_ authority: String) -> Bool {
        let port = port.withLock { $0 }
        guard authority.hasSuffix(":\(port)") || port == 80 else { return false }
        let name = authority.hasSuffix(":\(port)") ? String(authority.dropLast("\(port)".count + 1)) : authority
        if ["127.0.0.1", "localhost", "[::1]", Self.shown(host)].contains(name.lowercased()) { return true }
        guard !Self.isLoopback(host) else { return false }
        let numbers = name.split(separator: ".", omittingEmptySubsequences: false)
        if numbers.count == 4, numbers.allSatisfy({ UInt8($0) != nil }) { return true }
        return name.hasPrefix("[") && name.hasSuffix("]")
            && name.dropFirst().dropLast().allSatisfy { $0.isHexDigit || $0 == ":" }
    }

    private static func closed(_ status: HTTPResponse.Status) -> Response {
        let page = """
            <!doctype html><html lang="en"><meta charset="utf-8"><title>DeML</title>
            <meta name="viewport" content="width=device-width,initial-scale=1"><link rel="stylesheet" href="/assets/style.css">
            <body><main class="closed"><h1>This page opens by its own address</h1>
            <p>deml ui has printed it in the terminal. It holds a token, so that nobody else on this machine can use the page.</p>
            <p class="note">After deml ui was started again there is a new one. Runs go on meanwhile.</p></main></body></html>
            """
        return Response(
            status: status, headers: [.contentType: "text/html; charset=utf-8", .cacheControl: "no-store"],
            body: ResponseBody(byteBuffer: ByteBuffer(string: page)))
    }

    private static let fetchSite = name("Sec-Fetch-Site")

    /// Nothing from elsewhere, no script but the files of the page, nobody's frame.
    static let headers: [(HTTPField.Name, String)] = [
        (
            .contentSecurityPolicy,
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
                + "frame-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
        ),
        (.xContentTypeOptions, "nosniff"), (name("Referrer-Policy"), "no-referrer"),
        (name("X-Frame-Options"), "DENY"),
        (name("Cross-Origin-Opener-Policy"), "same-origin"), (name("Cross-Origin-Resource-Policy"), "same-origin"),
        (name("Permissions-Policy"), "camera=(), microphone=(), geolocation=()"),
    ]

    /// These are names, so there is always one.
    private static func name(_ text: String) -> HTTPField.Name { HTTPField.Name(text) ?? .server }
}
