import Application
import Foundation
import Hummingbird
import Logging
import NIOCore
import UserInterface

/// The page without a network: requests go straight to what answers them.
struct Page {
    static let host = "127.0.0.1:7373"

    let folder: String
    private let asker: PageAsker

    init() throws {
        folder = NSTemporaryDirectory() + "deml-page-" + UUID().uuidString
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        asker = PageAsker(
            Application(
                workingFolder: folder, executable: "/nowhere/deml", environment: ["HOME": folder]), token: "token",
            session: "secret", port: 7373)
    }

    func remove() { try? FileManager.default.removeItem(atPath: folder) }

    struct Answer {
        var status: Int
        var headers: HTTPFields
        var body: String

        var json: [String: Any] {
            (try? JSONSerialization.jsonObject(with: Data(body.utf8))) as? [String: Any] ?? [:]
        }
    }

    /// - Parameter known: with the cookie, and for what changes something with the origin of the page.
    func ask(
        _ method: HTTPRequest.Method, _ path: String, host: String = Page.host, known: Bool = true,
        headers: HTTPFields = [:], body: String = "", bytes: [UInt8]? = nil
    ) async throws -> Answer {
        var fields = headers
        if known {
            fields[.cookie] = "other=1; deml_ui_7373=secret"
            if method != .get, fields[.origin] == nil { fields[.origin] = "http://\(Page.host)" }
        }
        let response = try await asker.respond(
            HTTPRequest(method: method, scheme: "http", authority: host, path: path, headerFields: fields),
            body: bytes.map { ByteBuffer(bytes: $0) } ?? ByteBuffer(string: body))
        return Answer(
            status: response.status, headers: response.headers, body: String(buffer: response.body))
    }

    /// Files sent as one upload; how it is named where data or a model is.
    func upload(_ files: [(name: String, bytes: [UInt8])]) async throws -> String {
        let id = try await json("/api/uploads", "{}").json["id"] as? String ?? ""
        for file in files { _ = try await ask(.put, "/api/uploads/\(id)?name=\(file.name)", bytes: file.bytes) }
        return "upload:" + id
    }

    /// Takes away the uploads that nobody needs so many days from now; those that are gone.
    func sweep(afterDays days: Double) throws -> Set<String> {
        Set(try asker.sweepUploads(now: Date().addingTimeInterval(days * 86_400)))
    }

    func json(_ path: String, _ body: String) async throws -> Answer {
        try await ask(.post, path, headers: [.contentType: "application/json"], body: body)
    }
}
