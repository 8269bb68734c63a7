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
    private static let script = "text/javascript; charset=utf-8"

    init() {
        assets = [
            "index.html": Asset(PackageResources.index_html, "text/html; charset=utf-8"),
            "style.css": Asset(PackageResources.style_css, "text/css; charset=utf-8"),
            "icon.svg": Asset(PackageResources.icon_svg, "image/svg+xml"),
            "app.js": Asset(PackageResources.app_js, Self.script),
            "tools.js": Asset(PackageResources.tools_js, Self.script),
            "chart.js": Asset(PackageResources.chart_js, Self.script),
            "home.js": Asset(PackageResources.home_js, Self.script),
            "run.js": Asset(PackageResources.run_js, Self.script),
            "compare.js": Asset(PackageResources.compare_js, Self.script),
            "train.js": Asset(PackageResources.train_js, Self.script),
            "layers.js": Asset(PackageResources.layers_js, Self.script),
            "try.js": Asset(PackageResources.try_js, Self.script),
            "golem.js": Asset(PackageResources.golem_js, Self.script),
        ]
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
