import Federation
import Foundation
import Hummingbird
import Logging
import NIOCore
import Tensors

/// Hummingbird does not pass this name on.
typealias HTTPField = HTTPFields.Element

extension HTTPResponse.Status {
    static let insufficientStorage = HTTPResponse.Status(code: 507, reasonPhrase: "Insufficient Storage")
}

/// The context of a request: nothing but what Hummingbird wants.
struct PageContext: RequestContext {
    private struct PlainSource: RequestContextSource { var logger: Logger }

    var coreContext: CoreRequestContextStorage

    init(source: ApplicationRequestContextSource) { coreContext = CoreRequestContextStorage(source: source) }
    /// Without a connection, for tests.
    init(logger: Logger) { coreContext = CoreRequestContextStorage(source: PlainSource(logger: logger)) }
}

extension Response {
    /// A value as JSON, as everything at home is written: NaN is the text "NaN".
    static func json(_ value: some Encodable, status: HTTPResponse.Status = .ok) throws -> Response {
        Response(
            status: status, headers: [.contentType: "application/json; charset=utf-8", .cacheControl: "no-store"],
            body: ResponseBody(byteBuffer: ByteBuffer(bytes: try RunJSON.encodeLine(value))))
    }

    /// A file of this machine, sent in pieces.
    /// - Parameter download: the name that the browser gives it; nil: it is shown.
    static func file(
        _ path: String, type: String, download: String? = nil, context: PageContext
    ) async throws -> Response {
        guard Files.exists(path), !Files.isDirectory(path) else {
            throw PageError(.notFound, "there is no such file yet", place: Files.name(of: path))
        }
        var headers: HTTPFields = [.contentType: type, .cacheControl: "no-store"]
        if let download { headers[.contentDisposition] = "attachment; filename=\"\(FileName.plain(download))\"" }
        return Response(status: .ok, headers: headers, body: try await FileIO().loadFile(path: path, context: context))
    }

    /// Server-sent events, a piece at a time, until the reader goes or the sequence ends.
    static func events(
        _ write: @escaping @Sendable (inout any ResponseBodyWriter) async throws -> Void
    ) -> Response {
        Response(
            status: .ok, headers: [.contentType: "text/event-stream; charset=utf-8", .cacheControl: "no-store"],
            body: ResponseBody { writer in
                do { try await write(&writer) } catch {
                    // The head is sent long ago: what is wrong is an event, too.
                    if !(error is CancellationError), !(error is ChannelError) {
                        try? await writer.event("trouble", PageError(error))
                    }
                }
                try await writer.finish(nil)
            })
    }
}

extension ResponseBodyWriter {
    /// One server-sent event with JSON as its data.
    mutating func event(_ name: String, _ value: some Encodable) async throws {
        var bytes = Array("event: \(name)\ndata: ".utf8)
        bytes += try RunJSON.encodeLine(value)
        bytes.append(UInt8(ascii: "\n"))
        try await write(ByteBuffer(bytes: bytes))
    }
}

extension Request {
    /// The body as JSON, of at most a megabyte.
    func json<Value: Decodable>(_ type: Value.Type) async throws -> Value {
        guard headers[.contentType]?.hasPrefix("application/json") == true else {
            throw PageError(.unsupportedMediaType, "this takes application/json")
        }
        let body = try await body.collect(upTo: 1 << 20)
        do { return try RunJSON.decode(type, from: Array(buffer: body)) } catch {
            throw PageError(.badRequest, "what was sent is not what is asked for here: \(error)")
        }
    }

    func query(_ name: String) -> String? { uri.queryParameters[Substring(name)].map { String($0) } }
}

/// Names that somebody else has given.
enum FileName {
    /// Letters, digits and `. _ -` of a name, for a header and for a folder of ours: it begins with none of the signs and is
    /// never empty.
    static func plain(_ text: String, maximum: Int = 80) -> String {
        let kept = text.unicodeScalars.map { scalar -> Character in
            scalar.isASCII
                && (scalar.properties.isAlphabetic || ("0"..."9").contains(scalar)
                    || "._-".unicodeScalars.contains(scalar))
                ? Character(scalar) : "-"
        }
        let name = String(kept.drop { !$0.isLetter && !$0.isNumber }.prefix(maximum))
        return name.isEmpty ? "data" : name
    }

    /// A part of a path below an upload's folder: what is no letter, digit, blank or `. _ - ( )` is replaced, so that it is
    /// one part, never hidden, and never leads anywhere else. Names of classes stay readable.
    static func part(_ text: some StringProtocol) -> String? {
        var name = ""
        for character in text where name.utf8.count < 120 {
            name.append(
                character.isLetter || character.isNumber || "._- ()".contains(character) ? character : "_")
        }
        while name.hasPrefix(".") || name.hasPrefix(" ") { name.removeFirst() }
        while name.hasSuffix(" ") { name.removeLast() }
        return name.isEmpty ? nil : name
    }
}
