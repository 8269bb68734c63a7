/// What a program in a rented machine may reach outside, and with which document that is asked for.
///
/// A provider gives a machine the way to the internet only where the demand carries a computation manifest that names the
/// addresses (golem-architecture, GAP-4 and GAP-5), and where the addresses are on its own list, or the manifest is signed
/// by somebody it trusts.
public struct OutboundAccess: Sendable, Equatable {
    /// Addresses without a path count for everything below them: `https://api.example.com`. Empty with ``isUnrestricted``.
    public var urls: [String]
    /// Everywhere; few providers allow it.
    public var isUnrestricted: Bool
    /// What the manifest is made out to; part of its text, so that it stays the same while a demand is negotiated.
    public var created: Timestamp

    /// Only to these `http:`, `https:`, `ws:` or `wss:` addresses.
    public static func urls(_ urls: [String]) -> OutboundAccess {
        OutboundAccess(urls: urls, isUnrestricted: false, created: .now())
    }

    /// Wherever the provider lets it.
    public static var unrestricted: OutboundAccess {
        OutboundAccess(urls: [], isUnrestricted: true, created: .now())
    }

    static let protocols = ["http", "https", "ws", "wss"]

    /// Throws `usage` for an address that no manifest may hold.
    func checked() throws {
        if !isUnrestricted, urls.isEmpty {
            throw GolemError(.usage, "outbound access to no address was asked for", hint: "name at least one")
        }
        for url in urls {
            let parts = url.split(separator: ":", maxSplits: 1)
            guard parts.count == 2, Self.protocols.contains(String(parts[0])), parts[1].hasPrefix("//"),
                parts[1].dropFirst(2).contains(where: { $0 != "/" }),
                url.utf8.allSatisfy({ (0x21...0x7E).contains($0) })
            else {
                throw GolemError(
                    .usage, "this is no address that a machine may be let out to", place: url,
                    hint: "it begins with http://, https://, ws:// or wss:// and a host")
            }
        }
    }
}

/// A computation payload manifest, version 0.1.0: which image is run, by which commands, with which way out.
public struct Manifest: Sendable, Equatable {
    /// The JSON text.
    public var text: String
    /// Base64 of the signature over ``base64``; `nil`: unsigned, so that the provider's own lists decide.
    public var signature: String?
    /// Of the signature, e.g. `sha256`.
    public var algorithm: String?
    /// Base64 of the certificate (DER or PEM) whose key signed.
    public var certificate: String?

    /// A manifest that was written elsewhere, e.g. one that is signed. Throws `usage` for what is no JSON object.
    public init(
        text: String, signature: String? = nil, algorithm: String? = nil, certificate: String? = nil
    ) throws {
        guard case .object? = JSON(parsing: text) else {
            throw GolemError(.usage, "the manifest is no JSON object")
        }
        if signature != nil, algorithm == nil || certificate == nil {
            throw GolemError(.usage, "a signed manifest needs the signature's algorithm and the certificate")
        }
        self.text = text
        self.signature = signature
        self.algorithm = algorithm
        self.certificate = certificate
    }

    /// The manifest for an image and a way out.
    public init(image: TaskPackage, outbound: OutboundAccess, name: String = "golem-swift") throws {
        try outbound.checked()
        var out: [String: JSON] = [:]
        if outbound.isUnrestricted {
            out["protocols"] = JSON(OutboundAccess.protocols)
            out["unrestricted"] = ["urls": true]
        } else {
            let used = OutboundAccess.protocols.filter { name in outbound.urls.contains { $0.hasPrefix(name + ":") } }
            out["protocols"] = JSON(used)
            out["urls"] = JSON(outbound.urls)
        }
        let json: JSON = [
            "version": "0.1.0", "createdAt": .string(outbound.created.description),
            "expiresAt": .string((outbound.created + .seconds(365 * 24 * 3600)).description),
            "metadata": ["name": .string(name), "version": "0.1.0"],
            "payload": [
                [
                    "platform": ["arch": "x86_64", "os": "linux"], "urls": [.string(image.url)],
                    "hash": .string("sha3:" + image.sha3),
                ]
            ],
            "compManifest": ["version": "0.1.0", "net": ["inet": ["out": .object(out)]]],
        ]
        text = json.description
    }

    /// ``text`` in base64, as a demand holds it.
    public var base64: String { Golem.base64(Array(text.utf8)) }

    /// `golem.srv.comp.payload` and what belongs to it.
    var properties: [String: JSON] {
        var properties: [String: JSON] = [PropertyName.payload: .string(base64)]
        properties[PropertyName.payload + ".sig"] = signature.map { .string($0) }
        properties[PropertyName.payload + ".sig.algorithm"] = algorithm.map { .string($0) }
        properties[PropertyName.payload + ".cert"] = certificate.map { .string($0) }
        return properties
    }
}

extension PropertyName {
    /// The manifest in base64.
    public static let payload = "golem.srv.comp.payload"
    /// What a runtime can do: `inet`, `manifest-support`, `vpn`, …
    public static let capabilities = "golem.runtime.capabilities"
    /// Two letters (ISO 3166-1). The standard has it; few providers tell it.
    public static let country = "golem.node.geo.country_code"
}

/// Base64 with padding (RFC 4648, section 4).
func base64(_ bytes: [UInt8]) -> String {
    let text = base64URL(bytes).map { $0 == "-" ? "+" : $0 == "_" ? "/" : $0 }
    return String(text) + String(repeating: "=", count: (4 - text.count % 4) % 4)
}
