/// Where providers get the image that a rented machine runs.
public enum ImageSource: Sendable, Equatable {
    /// A `.gvmi` file of this computer. It is served to providers through the daemon, as long as machines are rented.
    case file(String)
    /// Anywhere providers can reach (`http:`, `https:` or `gftp:`), with the SHA3-224 of the whole file, 56 hex digits.
    case url(String, sha3: String)
    /// A name at the image registry, `user/repository:tag`.
    case tag(String)

    /// An image whose address and hash are known.
    public init(_ package: TaskPackage) {
        self = .url(package.url, sha3: package.sha3)
    }

    /// How a demand names an image whose address and hash are known. Throws `usage` for one that must be provided first.
    package var package: TaskPackage {
        get throws {
            guard case .url(let url, let sha3) = self else {
                throw GolemError(.usage, "the image has no address yet", hint: "rent inside of `Requestor.run`")
            }
            return try TaskPackage(url: url, sha3: sha3)
        }
    }

    /// Makes the image reachable for providers while `body` runs, which gets how a demand names it.
    ///
    /// A tag is asked of the registry; a file is examined, hashed (in pieces: an image may be larger than the memory) and
    /// served from here until `body` ends.
    ///
    /// - Throws: before `body` begins: `usage` for an address, hash or tag that is none; `notFound` for a file or tag that
    ///   is not there; `malformed` for a file that is no image; `io`; what keeps the daemon from being reached. Then what
    ///   `body` throws.
    public func provided<Result: Sendable>(
        by client: GolemClient, registry: String = ImageRegistry.golem,
        _ body: @Sendable @escaping (TaskPackage) async throws -> Result
    ) async throws -> Result {
        switch self {
        case .url(let url, let sha3):
            return try await body(try TaskPackage(url: url, sha3: sha3))
        case .tag(let tag):
            return try await body(try await ImageRegistry(url: registry).resolve(tag))
        case .file(let path):
            let sha3 = try await ImageFile.hash(of: path)
            return try await client.serving(.file(path)) { try await body(try TaskPackage(url: $0, sha3: sha3)) }
        }
    }
}
