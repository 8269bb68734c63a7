import ForeignText

/// Where a daemon's REST interface is: scheme, host, port, and a path in front of its own ones, as a proxy may want.
///
/// Read once from what a person wrote, and refused there if it is anything else than an address; nothing is guessed.
public struct DaemonAddress: Hashable, Sendable {
    /// How it is spoken to.
    public enum Scheme: String, Sendable { case http, https }

    public let scheme: Scheme
    /// A name or a number; one of IPv6 without its brackets.
    public let host: String
    public let port: Int
    /// Empty, or begins with `/` and does not end with one.
    public let path: String

    /// Where `yagna service run` listens when nobody says otherwise: `http://127.0.0.1:7465`.
    public static let standard = DaemonAddress(scheme: .http, host: "127.0.0.1", port: 7465, path: "")

    private init(scheme: Scheme, host: String, port: Int, path: String) {
        (self.scheme, self.host, self.port, self.path) = (scheme, host, port, path)
    }

    /// Reads `http[s]://HOST[:PORT][/PATH]` (RFC 3986). The port is 80 or 443 where none stands.
    /// - Throws: `usage`, with what is wrong and how it is written.
    public init(_ text: String) throws(GolemError) {
        func wrong(_ what: String, _ hint: String = "an address is written like http://127.0.0.1:7465") -> GolemError {
            GolemError(
                .usage, "the daemon's address \(what)", place: ForeignText.line(text, limit: 200),
                hint: "\(hint); YAGNA_API_URL or --api-url says where the daemon is")
        }
        guard !text.isEmpty else { throw wrong("is empty") }
        guard text.utf8.allSatisfy({ (0x21...0x7E).contains($0) }) else {
            throw wrong("holds a blank, or a character that an address cannot hold")
        }
        guard let end = text.firstRange(of: "://") else {
            throw wrong("does not say http or https", "did you mean http://\(ForeignText.line(text, limit: 200))?")
        }
        guard let scheme = Scheme(rawValue: text[..<end.lowerBound].lowercased()) else {
            throw wrong("begins with `\(text[..<end.lowerBound])`, which is neither http nor https")
        }
        let rest = text[end.upperBound...]
        guard !rest.contains(where: { "?#".contains($0) }) else { throw wrong("may not have a query or a fragment") }
        let authority = rest.prefix { $0 != "/" }
        guard !authority.contains("@") else {
            throw wrong("may not hold a user or a password", "the key is given in YAGNA_APPKEY")
        }
        let (host, port) = try Self.split(authority, wrong)
        var path = rest.dropFirst(authority.count)
        while path.hasSuffix("/") { path.removeLast() }
        self.init(scheme: scheme, host: host, port: port ?? (scheme == .http ? 80 : 443), path: String(path))
    }

    /// Host and port; `nil` where no port stands.
    private static func split(
        _ authority: Substring, _ wrong: (String, String) -> GolemError
    ) throws(GolemError) -> (host: String, port: Int?) {
        let example = "an address is written like http://127.0.0.1:7465"
        let host: Substring
        let rest: Substring
        if authority.hasPrefix("[") {
            guard let close = authority.firstIndex(of: "]") else { throw wrong("has a [ without its ]", example) }
            host = authority[authority.index(after: authority.startIndex)..<close]
            rest = authority[authority.index(after: close)...]
            guard host.contains(":"), host.allSatisfy({ $0.isHexDigit || $0 == ":" || $0 == "." }) else {
                throw wrong(
                    "holds something in [ ] that is no IPv6 address", "an address is written like http://[::1]:7465")
            }
        } else {
            guard authority.count(where: { $0 == ":" }) < 2 else {
                throw wrong("holds several colons", "an address of IPv6 is written like http://[::1]:7465")
            }
            host = authority.prefix { $0 != ":" }
            rest = authority.dropFirst(host.count)
            guard !host.isEmpty else { throw wrong("names no host", example) }
            guard host.utf8.allSatisfy(isUnreserved) else {
                throw wrong("names a host that cannot be one: `\(host)`", example)
            }
        }
        guard let colon = rest.first else { return (String(host), nil) }
        guard colon == ":" else { throw wrong("goes on behind its host with `\(rest)`", example) }
        let digits = rest.dropFirst()
        guard digits.utf8.allSatisfy({ (48...57).contains($0) }), let port = Int(digits), (1...65_535).contains(port)
        else { throw wrong("has the port `\(digits)`; ports are numbers from 1 to 65535", example) }
        return (String(host), port)
    }

    /// Host and port as a `Host` header has them.
    var authority: String { (host.contains(":") ? "[\(host)]" : host) + ":\(port)" }
}

extension DaemonAddress: CustomStringConvertible {
    /// `http://127.0.0.1:7465`, always with its port.
    public var description: String { "\(scheme.rawValue)://\(authority)\(path)" }
}
