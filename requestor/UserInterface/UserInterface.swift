import Foundation
import Hummingbird
import Logging
import NIOCore
import NIOPosix
import Tensors

/// The page: a server on this machine that shows what `deml` can do, to whoever was given its address.
///
/// It is a reader of run folders, and starts runs as processes of their own. So it holds no run up, and may be ended and started
/// again while runs go on.
public struct UserInterface: Sendable {
    /// Where the page is when it is not said, so that it is found again; another port is taken where something else is there.
    public static let usualPort = 7373

    private let application: DeMLApplication
    private let host: String
    private let port: Int?

    /// - Parameters:
    ///   - host: the address to listen on; others than those of this machine alone are to be wanted.
    ///   - port: 0: any free one; nil: the usual one, or any free one.
    public init(_ application: DeMLApplication, host: String = "127.0.0.1", port: Int? = nil) {
        self.application = application
        self.host = host
        self.port = port
    }

    /// Whether others than this machine can reach it. What goes between is not encrypted.
    public var isReachableByOthers: Bool { !Door.isLoopback(host) }

    /// Serves until the task is cancelled.
    /// - Parameter ready: told the address, with its token, once somebody can open it.
    /// - Throws: `cannotCreate` where the port is not to be had.
    public func run(ready: @escaping @Sendable (String) -> Void) async throws {
        do {
            try await serve(on: port ?? Self.usualPort, ready)
        } catch let error as IOError where port == nil && error.errnoCode == EADDRINUSE {
            try await serve(on: 0, ready)
        } catch let error as IOError {
            throw DeMLError(
                .cannotCreate, "nothing can listen there: \(String(cString: strerror(error.errnoCode)))",
                place: "\(host):\(port ?? Self.usualPort)", hint: "choose another --port, or none")
        }
    }

    private func serve(on port: Int, _ ready: @escaping @Sendable (String) -> Void) async throws {
        let door = Door(host: host)
        var logger = Logger(label: "deml.ui") { _ in SwiftLogNoOpLogHandler() }
        logger.logLevel = .critical
        let (library, uploads) = (RunLibrary(application), Self.uploads(of: application))
        let server = Hummingbird.Application(
            router: Self.router(application, door, library, uploads),
            // Who says nothing for so long is let go; a page that follows a run is written to all the time.
            server: .http1(
                configuration: .init(
                    idleTimeout: .seconds(60),
                    httpDecoderConfiguration: .init(
                        maxHeaderFieldSize: 16 << 10, maxHeaderListSize: 64 << 10, maxHeaderFieldCount: 100))),
            configuration: ApplicationConfiguration(address: .hostname(host, port: port), serverName: nil),
            onServerRunning: { channel in
                door.opened(on: channel.localAddress?.port ?? port)
                ready(door.address)
            }, logger: logger)
        let sweep = Self.sweep(of: uploads, library)
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { await sweep.repeated() }
            defer { group.cancelAll() }
            try await server.run()
        }
    }

    static func uploads(of application: DeMLApplication) -> Uploads {
        Uploads(folder: application.paths.resolved("runs/.uploads"))
    }

    static func sweep(of uploads: Uploads, _ library: RunLibrary) -> UploadSweep {
        UploadSweep(uploads: uploads, runs: library.application.paths.resolved("runs")) { log in
            library.background.state(log, log: log) == .working
        }
    }

    /// Everything that is answered.
    static func router(
        _ application: DeMLApplication, _ door: Door, _ library: RunLibrary, _ uploads: Uploads
    ) -> Router<PageContext> {
        let router = Router(context: PageContext.self)
        router.add(middleware: door)
        let assets = Assets()
        for path in ["/", "/train", "/try", "/golem", "/compare", "/runs/:run", "/try/:run"] {
            router.get(RouterPath(path)) { request, _ in try assets.response("index.html", to: request) }
        }
        router.get("/assets/:name") { request, context in
            try assets.response(context.parameters.get("name") ?? "", to: request)
        }
        let places = Places(application: application, uploads: uploads)
        router.get("/api/place") { _, _ in
            try Response.json(["folder": application.paths.workingFolder.harmless(maximum: 1000)])
        }
        RunRoutes(library).add(to: router)
        TrainRoutes(library: library, uploads: uploads, places: places).add(to: router)
        let trying = TryRoutes(library: library, uploads: uploads, places: places)
        trying.add(to: router)
        TextRoutes(application: application, model: trying.model).add(to: router)
        PredictionRoutes(
            library: library, uploads: uploads, places: places, model: trying.model, remember: trying.remember
        ).add(to: router)
        ExportRoutes(application: application, uploads: uploads, model: trying.model).add(to: router)
        GolemRoutes(application: application).add(to: router)
        return router
    }
}
