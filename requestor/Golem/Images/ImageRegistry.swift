import ForeignText

/// The registry of images: where a tag lies, and with which hash.
///
/// Protocol: `GET /v1/image/info?count=true&tag=…`, as golem-js and yapapi ask it.
public struct ImageRegistry: Sendable {
    /// The registry of the Golem Network.
    public static let golem = "https://registry.golem.network"

    /// `http://` or `https://`, without a slash at the end.
    public let url: String

    /// `url`: where it is; Golem's own by default.
    public init(url: String = ImageRegistry.golem) {
        var url = url
        while url.hasSuffix("/") { url.removeLast() }
        self.url = url
    }

    /// What a tag stands for now. The address is `https` where the registry has one.
    ///
    /// - Throws: `usage` for what is no tag, `notFound` for one that the registry does not know, `malformed` for an answer
    ///   that names no image, `io` when the registry does not answer.
    public func resolve(_ tag: String) async throws -> TaskPackage {
        let allowed = tag.utf8.allSatisfy { isUnreserved($0) || $0 == UInt8(ascii: "/") || $0 == UInt8(ascii: ":") }
        guard allowed, tag.contains(":"), !tag.hasSuffix(":"), !tag.hasPrefix(":") else {
            throw GolemError(
                .usage, "'\(ForeignText.line(tag, limit: 100))' is no image tag",
                hint: "it has the form user/repository:tag")
        }
        let place = "\(url)/v1/image/info?count=true&tag=\(escaped(tag))"
        let status: Int
        let body: [UInt8]
        do {
            (status, body) = try await WebRequest.send("GET", place, maximumBytes: 1 << 20)
        } catch is CancellationError {
            throw CancellationError()
        } catch {
            throw GolemError(
                .io, "the image registry does not answer", place: place,
                hint: "give the image itself, as a file or as an address with its hash", cause: error)
        }
        guard status == 200 else {
            throw GolemError(
                status == 404 ? .notFound : .io,
                status == 404 ? "the image registry knows no '\(tag)'" : "the image registry could not answer",
                place: place, status: status, answer: excerpt(body))
        }
        guard let answer = JSON(answer: body), let sha3 = answer["sha3"]?.line,
            let address = answer["https"]?.line ?? answer["http"]?.line
        else {
            throw GolemError(
                .malformed, "the image registry's answer names no image", place: place, status: status,
                answer: excerpt(body))
        }
        do {
            return try TaskPackage(url: address, sha3: sha3)
        } catch {
            throw GolemError(
                .malformed, "the image registry's answer names no image that can be used", place: place,
                answer: excerpt(body), cause: error)
        }
    }
}
