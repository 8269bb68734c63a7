import CPageAssets
import Foundation
import Hummingbird
import Tensors

/// The files of the page, which are part of the program.
struct Assets: Sendable {
    struct Asset: Sendable {
        var bytes: ByteBuffer
        var type: String
        var tag: String

        init(_ bytes: [UInt8], _ type: String) {
            self.bytes = ByteBuffer(bytes: bytes)
            self.type = type
            tag = "\"\(sha256Hex(bytes).prefix(20))\""
        }
    }

    private let assets: [String: Asset]

    init() {
        var count = 0
        let table = UnsafeBufferPointer(start: page_assets(&count), count: count)
        assets = Dictionary(
            uniqueKeysWithValues: table.map { asset in
                let name = String(cString: asset.name)
                let bytes = [UInt8](UnsafeBufferPointer(start: asset.bytes, count: asset.count))
                return (name, Asset(bytes, Self.type(of: name)))
            })
    }

    private static func type(of name: String) -> String {
        switch name.split(separator: ".").last {
        case "html": "text/html; charset=utf-8"
        case "css": "text/css; charset=utf-8"
        case "svg": "image/svg+xml"
        default: "text/javascript; charset=utf-8"
        }
    }

    /// Bytes of everything that a page may load.
    var weight: Int { assets.values.reduce(0) { $0 + $1.bytes.readableBytes } }

    func response(_ name: String, to request: Request) throws -> Response {
        guard let asset = assets[name] else { throw PageError(.notFound, "there is no such file", place: name) }
        // Asked for again each time, answered in a word when it is still the same: a new program is a new page.
        let headers: HTTPFields = [.contentType: asset.type, .cacheControl: "no-cache", .eTag: asset.tag]
        if request.headers[.ifNoneMatch] == asset.tag { return Response(status: .notModified, headers: headers) }
        return Response(status: .ok, headers: headers, body: ResponseBody(byteBuffer: asset.bytes))
    }
}
