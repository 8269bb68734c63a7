import ForeignText
import Logging
import NIOCore
import NIOHTTP1
import NIOPosix
import SHA3
import Waiting

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#elseif canImport(Darwin)
    import Darwin
#endif

/// A typed client of one `yagna` daemon's REST interface.
///
/// ```swift
/// try await GolemClient.with(url: "http://127.0.0.1:7465", appKey: key) { client in
///     print(try await client.me().nodeID)
/// }
/// ```
/// Every call throws ``GolemError``, which says what was asked, of whom, what came back and what to do.
/// The client is a value that may be shared between tasks; a cancelled task ends its call.
public struct GolemClient: Sendable {
    /// Where the daemon is.
    public let address: DaemonAddress
    let appKey: String
    /// Told of every call (`trace`) and of sockets that break (`debug`).
    public var logger: Logger
    /// Whether the daemon answers this client and its copies.
    public let watch = DaemonWatch()
    /// Whom the app-key stands for, once that was asked.
    private let identity = OneShot<NodeID>()

    /// Nothing is asked of the daemon yet. `appKey`: as `yagna app-key list` shows it.
    public init(address: DaemonAddress, appKey: String, logger: Logger = GolemClient.silent) {
        self.address = address
        self.appKey = appKey
        self.logger = logger
    }

    /// - Throws: `usage` for what is no ``DaemonAddress``.
    public init(url: String, appKey: String, logger: Logger = GolemClient.silent) throws(GolemError) {
        self.init(address: try DaemonAddress(url), appKey: appKey, logger: logger)
    }

    /// The address as text, for errors.
    var url: String { address.description }

    /// Runs `body` with a client of its own.
    public static func with<Result>(
        url: String, appKey: String, logger: Logger = GolemClient.silent, isolation: isolated (any Actor)? = #isolation,
        _ body: (GolemClient) async throws -> Result
    ) async throws -> Result {
        try await body(GolemClient(url: url, appKey: appKey, logger: logger))
    }

    /// Whom the app-key stands for; asked of the daemon once.
    func nodeID() async throws -> NodeID {
        if let known = identity.value { return known }
        let id = try await me().nodeID
        identity.set(id)
        return id
    }

    /// A logger that writes nothing.
    public static var silent: Logger { Logger(label: "golem") { _ in SwiftLogNoOpLogHandler() } }

    // MARK: Calls

    struct Query {
        var items: [(String, String)] = []

        mutating func add(_ name: String, _ value: String?) {
            if let value { items.append((name, value)) }
        }

        /// `?name=value&…` with everything escaped that is not unreserved (RFC 3986), `:` and `+` too.
        var text: String {
            items.isEmpty ? "" : "?" + items.map { "\($0.0)=\(escaped($0.1))" }.joined(separator: "&")
        }
    }

    /// Sends a call and reads the whole answer.
    ///
    /// - Parameters:
    ///   - wait: how long the daemon may hold the call.
    ///   - limit: our own limit; some seconds above `wait` where none is given.
    /// - Returns: the answer as JSON, `null` for an empty one.
    func call(
        _ method: HTTPMethod, _ path: String, query: [(String, String?)] = [], body: JSON? = nil,
        wait: Duration = .seconds(5), limit: Duration? = nil, maximumBytes: Int = 64 << 20
    ) async throws -> JSON {
        var items = Query()
        for (name, value) in query { items.add(name, value) }
        let target = path + items.text
        let asked = "\(method.rawValue) \(target)"
        var request = HTTPExchange(address: address, target: target, method: method)
        request.headers.add(name: "Authorization", value: "Bearer " + appKey)
        if let body {
            var bytes: [UInt8] = []
            body.write(to: &bytes)
            request.headers.add(name: "Content-Type", value: "application/json")
            request.body = ByteBuffer(bytes: bytes)
        } else if method == .POST {
            request.body = ByteBuffer()
        }
        let answer = try await transport(asked, request, within: limit ?? wait + .seconds(15), maximumBytes)
        if let date = answer.head.headers.first(name: "Date") { watch.told(Timestamp(httpDate: date)) }
        let (status, bytes) = (Int(answer.head.status.code), Array(answer.body.readableBytesView))
        logger.trace("\(asked) -> \(status)")
        guard (200..<300).contains(status) else { throw failure(asked, status: status, body: bytes) }
        if bytes.isEmpty { return .null }
        guard let json = JSON(answer: bytes) else {
            throw GolemError(
                .malformed, "the daemon's answer is not JSON", request: asked, place: url, status: status,
                answer: excerpt(bytes))
        }
        return json
    }

    /// Gets an answer, and turns failures of the way to the daemon into ``GolemError``.
    private func transport(
        _ asked: String, _ request: HTTPExchange, within limit: Duration, _ maximumBytes: Int
    ) async throws -> (head: HTTPResponseHead, body: ByteBuffer) {
        let start = ContinuousClock.now
        do {
            try Task.checkCancellation()
            let answer = try await request.answer(within: limit, maximumBytes: maximumBytes)
            watch.answered()
            return answer
        } catch let error as GolemError {
            throw error
        } catch is CancellationError {
            throw CancellationError()
        } catch is DeadlineExceeded {
            let message = "the daemon did not answer within \(limit.text)"
            watch.missed(waited: ContinuousClock.now - start, because: message)
            throw GolemError(
                .unreachable, message, request: asked, place: url,
                hint: "see whether it is alive: yagna version show")
        } catch {
            if Task.isCancelled { throw CancellationError() }
            let error = unreachable(asked, error)
            watch.missed(waited: .zero, because: error.message)
            throw error
        }
    }

    /// The error for a call that never reached the daemon, or whose answer broke off.
    package func unreachable(_ asked: String, _ cause: any Error) -> GolemError {
        let causes = (cause as? NIOConnectionError)?.connectionErrors.map(\.error) ?? [cause]
        let isShort = causes.contains { [EMFILE, ENFILE].contains(($0 as? IOError)?.errnoCode) }
        return GolemError(
            .unreachable,
            isShort
                ? "this program has no file descriptors left to ask the daemon with" : "the daemon cannot be reached",
            request: asked, place: url,
            hint: isShort
                ? "allow it more, e.g. `ulimit -n 4096`, or rent fewer machines"
                : "start it (yagna service run) or set YAGNA_API_URL to where it is", cause: cause)
    }

    /// The error for an answer with a status of 300 or more.
    func failure(_ asked: String, status: Int, body: [UInt8]) -> GolemError {
        let text = GolemClient.errorText(body)
        let said = text.map { ": " + $0 } ?? ""
        let (code, message, hint): (GolemError.Code, String, String?) =
            switch status {
            case 400: (.refused, "the daemon refused the request" + said, nil)
            case 401:
                (
                    .unauthorized, "the daemon refused the app-key" + said,
                    "set YAGNA_APPKEY to a key that `yagna app-key list` shows"
                )
            case 404: (.notFound, "the daemon knows no such thing" + said, nil)
            case 408: (.timedOut, "the time allowed for the call ran out" + said, nil)
            case 409: (.conflict, "already done" + said, nil)
            case 410: (.gone, "over for good" + said, nil)
            case 501: (.unsupported, "this daemon cannot do that" + said, nil)
            case 500 where text?.contains("GSB error") == true || text?.contains("GSB failure") == true:
                (.peer, "the other node did not answer" + said, nil)
            default: (.daemon, "the daemon failed" + said, "its log says more: $YAGNA_DATADIR/yagna_rCURRENT.log")
            }
        return GolemError(
            code, message, request: asked, place: url, status: status, answer: excerpt(body), hint: hint)
    }

    /// What an error body says: `{"message":…}` (perhaps null), a problem object with `detail`, or plain text.
    static func errorText(_ body: [UInt8]) -> String? {
        guard let json = JSON(answer: body) else {
            return body.isEmpty ? nil : excerpt(body)
        }
        if let text = json.line { return text }
        let parts = [json["message"]?.line ?? json["detail"]?.line, json["parseError"]?.line]
        return parts.compactMap(\.self).isEmpty ? nil : parts.compactMap(\.self).joined(separator: ": ")
    }
}

/// The beginning of an answer, for an error.
func excerpt(_ bytes: [UInt8], _ length: Int = 400) -> String {
    // Four bytes make one scalar at most.
    ForeignText.line(bytes: bytes.prefix(4 * length), limit: length)
}

package func escaped(_ text: String) -> String {
    var out: [UInt8] = []
    for byte in text.utf8 {
        if isUnreserved(byte) {
            out.append(byte)
        } else {
            out.append(UInt8(ascii: "%"))
            out += hexText([byte]).uppercased().utf8
        }
    }
    return String(decoding: out, as: UTF8.self)
}

/// Seconds for a query string, fractions allowed.
func seconds(_ duration: Duration) -> String {
    JSON(max(0, duration.inSeconds)).description
}
