import Application
import Federation
import Golem
import Hummingbird
import Tensors

/// What a page is told when something cannot be done: what is wrong, where, and what to do about it.
struct PageError: Error, Encodable {
    struct Problem: Encodable {
        var key: String
        var message: String
    }

    var status: HTTPResponse.Status
    var what: String
    var place: String?
    var hint: String?
    /// Settings that are wrong, where it is about those.
    var problems: [Problem] = []

    enum CodingKeys: String, CodingKey {
        case what, hint, problems
        case place = "where"
    }

    init(_ status: HTTPResponse.Status, _ what: String, place: String? = nil, hint: String? = nil) {
        self.status = status
        self.what = what
        self.place = place
        self.hint = hint
    }

    /// Any error in these words. Texts of files may be in it: they are made harmless.
    init(_ error: any Error) {
        switch error {
        case let error as PageError: self = error
        case let error as DeMLError:
            self.init(Self.status(of: error.code), error.message, place: error.place, hint: error.hint)
            if let cause = error.cause { what += ": \(cause)" }
        case let error as ConfigurationError:
            self.init(.unprocessableContent, error.error.message, place: error.error.place)
            problems = error.problems.map { Problem(key: $0.key, message: $0.message.harmless(maximum: 500)) }
        case let error as GolemError:
            self.init(.badGateway, error.message, place: error.place, hint: error.hint)
        case let error as HTTPError:
            self.init(error.status, error.body ?? Self.words(of: error.status))
        case let error as any HTTPResponseError: self.init(error.status, Self.words(of: error.status))
        default:
            self.init(.internalServerError, "\(error)")
        }
        what = what.harmlessLines(maximum: 4000)
        place = place?.harmless(maximum: 1000)
        hint = hint?.harmlessLines(maximum: 2000)
    }

    private static func words(of status: HTTPResponse.Status) -> String {
        switch status {
        case .notFound: "there is nothing at this address"
        case .contentTooLarge: "what was sent is too large"
        default: status.reasonPhrase.lowercased()
        }
    }

    private static func status(of code: DeMLError.Code) -> HTTPResponse.Status {
        switch code {
        case .notFound: .notFound
        case .permission: .forbidden
        case .tooLarge: .contentTooLarge
        case .diskFull: .insufficientStorage
        case .io, .cannotCreate, .internal: .internalServerError
        case .timedOut: .gatewayTimeout
        default: .unprocessableContent
        }
    }

    var response: Response {
        let body = (try? RunJSON.encodeLine(self)) ?? Array("{}".utf8)
        return Response(
            status: status, headers: [.contentType: "application/json; charset=utf-8", .cacheControl: "no-store"],
            body: ResponseBody(byteBuffer: ByteBuffer(bytes: body)))
    }
}
