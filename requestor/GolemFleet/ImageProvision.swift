import Golem
import Tensors

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// Makes the image reachable for providers and says how the demand names it.
struct ImageProvision: Sendable {
    let client: GolemClient
    let registry: String

    /// Runs `body` with the package of the demand; a file is served from here until `body` ends.
    func with<Value: Sendable>(
        _ source: ImageSource, _ body: @Sendable @escaping (TaskPackage) async throws -> Value
    ) async throws -> Value {
        switch source {
        case .url(let url, let sha3):
            return try await body(try TaskPackage(url: url, sha3: sha3))
        case .tag(let tag):
            return try await body(try await Self.resolve(tag, registry: registry))
        case .file(let path):
            let sha3 = try Self.hash(ofImage: path)
            return try await client.serving(.file(path)) { try await body(try TaskPackage(url: $0, sha3: sha3)) }
        }
    }

    /// SHA3-224 of an image, after a look at whether it is one.
    static func hash(ofImage path: String) throws(DeMLError) -> String {
        guard Files.exists(path) else {
            throw DeMLError(.notFound, "there is no image", place: path, hint: "make one with `make image`")
        }
        let bytes = try Files.read(path, maximumBytes: 2 << 30)
        let digits = bytes.suffix(8)
        guard bytes.starts(with: Array("hsqs".utf8)), digits.count == 8,
            digits.allSatisfy({ UInt8(ascii: "0")...UInt8(ascii: "9") ~= $0 })
        else {
            throw DeMLError(
                .malformed, "this is no Golem image: it is not a squashfs with a trailer", place: path,
                hint: "provider-image/check says more")
        }
        return SHA3.hash224(bytes)
    }

    /// Asks the image registry where a tag lies: `GET /v1/image/info?count=true&tag=…`.
    static func resolve(_ tag: String, registry: String) async throws -> TaskPackage {
        let allowed = tag.utf8.allSatisfy { byte in
            "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-/:".utf8.contains(byte)
        }
        guard allowed, tag.contains(":") else {
            throw DeMLError(.usage, "'\(tag)' is no image tag", hint: "it has the form user/repository:tag")
        }
        let url =
            "\(registry)/v1/image/info?count=true&tag=\(tag.replacing("/", with: "%2F").replacing(":", with: "%3A"))"
        let status: Int
        let body: [UInt8]
        do {
            (status, body) = try await WebRequest.send("GET", url, maximumBytes: 1 << 20)
        } catch {
            throw DeMLError(
                .io, "the image registry does not answer", place: url,
                hint: "give the image itself: --image FILE, or --image-url with --image-hash", cause: error)
        }
        guard status == 200, let answer = JSON(parsing: body), let sha3 = answer["sha3"]?.string,
            let address = answer["https"]?.string ?? answer["http"]?.string
        else {
            let said = String(decoding: body.prefix(200), as: UTF8.self)
            throw DeMLError(
                .notFound, "the image registry knows no '\(tag)' (\(status)): \(said)", place: url)
        }
        return try TaskPackage(url: address, sha3: sha3)
    }
}
