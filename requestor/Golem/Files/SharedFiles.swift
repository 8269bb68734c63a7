import Waiting

/// A file that is served once for all machines of a run which fetch it at the same time.
package final class SharedFile: Sendable {
    let path: String
    /// Its address, or why it cannot be served.
    let url = OneShot<Result<String, any Error>>()
    /// Set when nobody fetches it any more.
    package let unused = OneShot<Void>()

    init(path: String) {
        self.path = path
    }

    /// Serves it until nobody fetches it, or the task is cancelled.
    func serve(by client: GolemClient) async {
        do {
            try await client.serving(.file(path)) { [self] url in
                self.url.set(.success(url))
                try await unused.wait()
            }
        } catch {
            url.set(.failure(error))
        }
    }
}

/// Which files are served, and for how many machines.
package struct SharedFiles {
    /// A path may come to hold another file while the one before is still being fetched.
    package typealias Version = LocalFile.Version

    private var files: [Version: (file: SharedFile, users: Int)] = [:]

    package init() {}

    /// - Returns: the file, and whether somebody must begin to serve it.
    package mutating func begin(_ version: Version, path: String) -> (file: SharedFile, isNew: Bool) {
        if let known = files[version] {
            files[version] = (known.file, known.users + 1)
            return (known.file, false)
        }
        let file = SharedFile(path: path)
        files[version] = (file, 1)
        return (file, true)
    }

    package mutating func end(_ version: Version) {
        guard let known = files[version] else { return }
        files[version] = known.users > 1 ? (known.file, known.users - 1) : nil
        if known.users == 1 { known.file.unused.set(()) }
    }
}

extension MachinePool {
    /// Offers a file to a machine while `body` runs, which gets its address; it is fetched within the window. Machines that
    /// fetch the same file at the same time share one service and its connection.
    package func serving<Result: Sendable>(
        _ path: String, _ window: TransferWindow, _ body: @Sendable @escaping (_ url: String) async throws -> Result
    ) async throws -> Result {
        let version = try LocalFile.version(of: path)
        let file = await engine.beginServing(version, path: path)
        return try await withThrowingTaskGroup(of: Result?.self) { group in
            group.addTask {
                try? await window.closed.wait()
                await engine.endServing(version)
                return nil
            }
            group.addTask { try await body(try await file.url.wait().get()) }
            defer { group.cancelAll() }
            while let next = try await group.next() {
                if let result = next { return result }
            }
            throw CancellationError()
        }
    }
}
