import Golem
import Synchronization
import Tensors

/// The client's way of providing an image, with errors as the command prints them.
enum ImageProvision {
    /// Runs `body` with the package of the demand; a file is served from here until `body` ends.
    static func with<Value: Sendable>(
        _ source: ImageSource, client: GolemClient, registry: String,
        _ body: @Sendable @escaping (TaskPackage) async throws -> Value
    ) async throws -> Value {
        let hasBegun = Mutex(false)
        do {
            return try await source.provided(by: client, registry: registry) { package in
                hasBegun.withLock { $0 = true }
                return try await body(package)
            }
        } catch let error as GolemError where !hasBegun.withLock({ $0 }) {
            throw readable(error)
        }
    }

    /// SHA3-224 of an image, after a look at whether it is one.
    static func hash(of path: String) async throws -> String {
        do { return try await ImageFile.hash(of: path) } catch let error as GolemError { throw readable(error) }
    }

    /// Asks the image registry where a tag lies.
    static func resolve(_ tag: String, registry: String) async throws -> TaskPackage {
        do {
            return try await ImageRegistry(url: registry).resolve(tag)
        } catch let error as GolemError {
            throw readable(error)
        }
    }

    /// The HTTP status with which a server answers for an image.
    static func status(of url: String) async throws -> Int {
        do {
            return try await WebRequest.send("HEAD", url, maximumBytes: 0).status
        } catch let error as GolemError {
            throw readable(error)
        }
    }

    /// What is wrong with an image, by kind and with DeML's own remedies; what is wrong with the daemon stays as it is.
    private static func readable(_ error: GolemError) -> any Error {
        let code: DeMLError.Code
        var hint = error.hint
        switch error.code {
        case .notFound:
            code = .notFound
            hint = hint ?? "`make image` makes one"
        case .malformed:
            code = .malformed
            // Of a file; what a registry says has a status.
            hint = error.status == nil ? "provider-image/check says more" : hint
        case .usage: code = .usage
        case .io:
            code = .io
            hint = "give the image itself: --image FILE, or --image-url with --image-hash"
        default: return error
        }
        return DeMLError(
            code, error.message + (error.answer.map { " (\(error.status.map { "\($0): " } ?? "")\($0))" } ?? ""),
            place: error.place, hint: hint, cause: error.cause)
    }
}
