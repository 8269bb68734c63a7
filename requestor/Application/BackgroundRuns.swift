import CProcess
import Federation
import Foundation
import Synchronization
import Tensors

/// Runs that go on as processes of their own, so that whoever has started them may end and be started again: the run's folder
/// is the truth, and everybody reads that.
///
/// ```
/// runs/NAME/
///     request.yaml   what was asked for, as `deml train` takes it
///     output.log     what the process has printed
///     config.json …  as any run, from when it has begun
/// ```
public final class BackgroundRuns: Sendable {
    /// How far a process is that was started here.
    public enum State: Sendable, Equatable {
        case working
        /// With its exit code; nil where it was killed.
        case ended(Int32?)
    }

    private let application: Application
    /// The processes started by this one, by the run's folder.
    private let children = Mutex<[String: (process: pid_t, state: State)]>([:])
    /// The processes that were asked to end.
    private let asked = Mutex<[String: pid_t]>([:])

    public init(_ application: Application) { self.application = application }

    public static func request(of folder: RunFolder) -> String { folder.path + "/request.yaml" }
    public static func log(of folder: RunFolder) -> String { folder.path + "/output.log" }

    /// Starts a run in a new folder under `runs/`.
    /// - Parameters:
    ///   - name: of the folder; a number is added where there is one of that name.
    ///   - document: the settings as YAML or JSON; paths in it are absolute.
    public func start(name: String, document: String) throws(DeMLError) -> RunFolder {
        let folder = RunFolder(path: try application.paths.reserveRunFolder(name: name))
        do throws(DeMLError) {
            try Files.writeAtomically(Array(document.utf8), to: Self.request(of: folder))
            try launch(["train", Self.request(of: folder), "--output", folder.path], folder)
        } catch {
            try? FileManager.default.removeItem(atPath: folder.path)
            throw error
        }
        return folder
    }

    /// Goes on with a run that was stopped, or has too few rounds.
    /// - Parameter rounds: how many there are to be in all; nil: as many as were asked for.
    public func resume(_ folder: RunFolder, rounds: Int? = nil) throws(DeMLError) {
        guard !folder.isAtWork, state(of: folder) != .working else {
            throw DeMLError(
                .usage, "a process is working on this run", place: application.paths.shown(folder.path),
                hint: "wait for its end, or stop it")
        }
        try launch(
            ["train", "--resume", folder.path] + (rounds.map { ["--rounds", String($0)] } ?? []), folder)
    }

    /// Asks whoever works on the run to end: finished rounds are kept, machines are given back. Asking again changes nothing:
    /// a second signal would end the process at once, with machines still rented.
    /// - Throws: `notFound` where nobody does.
    public func stop(_ folder: RunFolder) throws(DeMLError) {
        try stop(folder.path, log: Self.log(of: folder), holder: folder.processAtWork)
    }

    /// What has become of the process that was started here for a run; nil for one that was not.
    public func known(of folder: RunFolder) -> State? { children.withLock { $0[folder.path]?.state } }

    /// The same; one of before a restart is looked for among all processes, by its log.
    public func state(of folder: RunFolder) -> State? { state(folder.path, log: Self.log(of: folder)) }

    /// The end of what the process has printed, harmless.
    public func output(of folder: RunFolder, maximum: Int = 8192) -> String {
        Self.end(of: Self.log(of: folder), maximum: maximum)
    }

    // MARK: Any command

    /// Starts `deml` with these arguments as a process of its own.
    /// - Parameters:
    ///   - key: what it is called here.
    ///   - log: the file that gets what it prints.
    package func launch(_ arguments: [String], key: String, log path: String) throws(DeMLError) {
        let executable = application.paths.executable
        let log = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o644)
        guard log >= 0 else {
            throw DeMLError(
                .cannotCreate, "it cannot be created: \(String(cString: strerror(errno)))",
                place: application.paths.shown(path))
        }
        defer { close(log) }
        var words: [UnsafeMutablePointer<CChar>?] = ([executable] + arguments).map { strdup($0) } + [nil]
        var variables: [UnsafeMutablePointer<CChar>?] =
            application.environment.map { strdup("\($0.key)=\($0.value)") } + [nil]
        defer { for text in words + variables { free(text) } }
        var process: pid_t = 0
        let number = detached_process_start(
            executable, &words, &variables, application.paths.workingFolder, log, &process)
        guard number == 0 else {
            throw DeMLError(
                .workerFailed, "deml cannot be started: \(String(cString: strerror(number)))", place: executable,
                hint: number == ENOENT ? "the program was moved or built anew: start deml ui again" : nil)
        }
        let child = process
        children.withLock { $0[key] = (child, .working) }
        // A thread that waits: whoever starts a process is to take note of its end.
        Thread.detachNewThread { [self] in
            var status: Int32 = 0
            while waitpid(child, &status, 0) < 0, errno == EINTR {}
            let code = status & 0x7f == 0 ? (status >> 8) & 0xff : nil
            children.withLock { $0[key] = (child, .ended(code)) }
        }
    }

    package func state(_ key: String, log: String) -> State? {
        if let known = children.withLock({ $0[key]?.state }) { return known }
        return Self.writer(of: log) == nil ? nil : .working
    }

    /// - Parameter holder: the process, where it is known by something else than its log.
    package func stop(_ key: String, log: String, holder: Int32? = nil) throws(DeMLError) {
        let own = children.withLock { children -> pid_t? in
            guard let child = children[key], child.state == .working else { return nil }
            return child.process
        }
        guard let process = own ?? holder ?? Self.writer(of: log) else {
            throw DeMLError(.notFound, "no process is working on this", place: application.paths.shown(key))
        }
        let isAsked = asked.withLock { asked in
            defer { asked[key] = process }
            return asked[key] == process
        }
        guard isAsked || kill(process, SIGINT) == 0 || errno == ESRCH else {
            throw DeMLError(
                .permission, "the process \(process) cannot be stopped: \(String(cString: strerror(errno)))",
                place: application.paths.shown(key))
        }
    }

    /// The end of a file, harmless.
    package static func end(of path: String, maximum: Int) -> String {
        guard let size = Files.size(of: path), let file = FileHandle(forReadingAtPath: path) else { return "" }
        defer { try? file.close() }
        try? file.seek(toOffset: UInt64(max(0, size - maximum)))
        let bytes = (try? file.read(upToCount: maximum)) ?? Data()
        return String(decoding: bytes, as: UTF8.self).harmlessLines(maximum: maximum)
    }

    /// A process that has a file open for writing, and is not this one. What it has started may have it too, with a smaller
    /// number where the numbers have begun anew: the one with the session of its own is meant.
    private static func writer(of path: String) -> Int32? {
        let all = OpenFile.processes(having: path) { fdinfo in
            // The flags are octal; the last digit holds the way of access.
            let flags = fdinfo.split(separator: "\n").first { $0.hasPrefix("flags:") }
            return flags?.last?.wholeNumberValue.map { $0 & 3 != 0 } ?? false
        }.filter { $0 != ProcessInfo.processInfo.processIdentifier }
        return all.first { getsid($0) == $0 } ?? all.first
    }

    private func launch(_ arguments: [String], _ folder: RunFolder) throws(DeMLError) {
        try launch(arguments, key: folder.path, log: Self.log(of: folder))
    }
}
