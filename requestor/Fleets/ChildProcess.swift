import CProcess
import Foundation
import Synchronization
import Tensors

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// One program run to its end, in a process group of its own: empty environment, no stdin, nothing inherited but stdout
/// and stderr, which are pipes to us. Whatever happens, the group is killed and the process reaped before ``run()``
/// returns.
package final class ChildProcess: Sendable {
    /// How it ended.
    package struct Outcome: Sendable, Equatable {
        /// The exit code, `nil` when it was killed.
        package var exitCode: Int32?
        /// The signal that killed it.
        package var signal: Int32?
        /// The end of what it wrote to stderr, at most ``ChildProcess/tailBytes``.
        package var standardErrorTail: String
        /// Whether we killed it because its time was up.
        package var isLate: Bool
    }

    /// How much of stderr is kept.
    package static let tailBytes = 4096

    private struct State {
        var process: pid_t = 0
        var isReaped = false
        var isStopped = false
    }

    private let executable: String
    private let arguments: [String]
    private let directory: String
    private let timeLimit: Double
    private let onOutput: @Sendable (ArraySlice<UInt8>) -> Void
    private let state = Mutex(State())

    /// - Parameters:
    ///   - executable: an absolute path.
    ///   - arguments: without the name of the program.
    ///   - directory: where it is started.
    ///   - timeLimit: seconds after which it is killed.
    ///   - onOutput: given stdout as it comes, piece by piece, from a thread of ours.
    package init(
        executable: String, arguments: [String], directory: String, timeLimit: Double,
        onOutput: @escaping @Sendable (ArraySlice<UInt8>) -> Void
    ) {
        self.executable = executable
        self.arguments = arguments
        self.directory = directory
        self.timeLimit = timeLimit
        self.onOutput = onOutput
    }

    /// Runs the program. Cancellation kills it; the outcome then says so by its signal.
    /// - Throws: `DeMLError` when it cannot be started.
    package func run() async throws -> Outcome {
        try await withTaskCancellationHandler {
            try await onOwnThread(named: "child process") { try self.runHere() }
        } onCancel: {
            stop()
        }
    }

    /// Kills the whole process group, now or as soon as there is one.
    private func stop() {
        state.withLock { state in
            state.isStopped = true
            // A process that is not reaped keeps its number, so this cannot hit another.
            if state.process > 0, !state.isReaped { kill(-state.process, SIGKILL) }
        }
    }

    private func runHere() throws -> Outcome {
        let start = ContinuousClock.now
        let child = try spawn()
        defer {
            close(child.output)
            close(child.errors)
        }
        let process = child.process
        state.withLock { state in
            state.process = process
            if state.isStopped { kill(-process, SIGKILL) }
        }

        var tail: [UInt8] = []
        var isLate = false
        var openPipes = [child.output, child.errors]
        var buffer = [UInt8](repeating: 0, count: 65_536)
        var pause: Int32 = 1
        while true {
            let left = timeLimit - (ContinuousClock.now - start) / .seconds(1)
            if left <= 0, !isLate {
                isLate = true
                stop()
            }
            // Looks at the process ten times a second, lest a grandchild that keeps a pipe open keep us waiting for it.
            var descriptors = openPipes.map { pollfd(fd: $0, events: Int16(POLLIN), revents: 0) }
            let ready: Int32
            if descriptors.isEmpty {
                ready = poll(nil, 0, pause)
                pause = min(pause * 2, 50)
            } else {
                ready = poll(&descriptors, nfds_t(descriptors.count), Int32(max(1, min(100, left * 1000))))
            }
            for descriptor in descriptors where ready > 0 && descriptor.revents != 0 {
                let got = read(descriptor.fd, &buffer, buffer.count)
                if got > 0 {
                    if descriptor.fd == child.output {
                        onOutput(buffer[..<got])
                    } else {
                        tail += buffer[..<got]
                        if tail.count > Self.tailBytes { tail.removeFirst(tail.count - Self.tailBytes) }
                    }
                } else if got == 0 || (errno != EINTR && errno != EAGAIN) {
                    openPipes.removeAll { $0 == descriptor.fd }
                }
            }
            if ready <= 0 || openPipes.isEmpty, hasEnded(process) {
                // Descendants that outlived it would keep the pipes open.
                kill(-process, SIGKILL)
                if openPipes.isEmpty || ready == 0 { break }
            }
        }

        var status: Int32 = 0
        state.withLock { state in
            while waitpid(process, &status, 0) < 0, errno == EINTR {}
            state.isReaped = true
        }
        let signal = status & 0x7f
        return Outcome(
            exitCode: signal == 0 ? (status >> 8) & 0xff : nil, signal: signal == 0 ? nil : signal,
            standardErrorTail: String(decoding: tail, as: UTF8.self).harmlessLines(maximum: Self.tailBytes),
            isLate: isLate)
    }

    /// Whether the process has ended; it stays a zombie, and its number its own.
    private func hasEnded(_ process: pid_t) -> Bool {
        var information = siginfo_t()
        let result = waitid(P_PID, id_t(process), &information, WEXITED | WNOHANG | WNOWAIT)
        return result == 0 && information.si_signo == SIGCHLD
    }

    private func spawn() throws(DeMLError) -> child_process {
        var texts: [UnsafeMutablePointer<CChar>?] = ([executable] + arguments).map { strdup($0) }
        defer { for text in texts { free(text) } }
        texts.append(nil)
        var child = child_process()
        let number = child_process_start(executable, texts, directory, &child)
        guard number == 0 else {
            let hint =
                switch number {
                case ENOENT: "build it with: swift build -c release --product deml-worker"
                case EMFILE, ENFILE: "raise the limit of open files: ulimit -n 4096"
                default: String?.none
                }
            throw DeMLError(
                .workerFailed, "it cannot be started: \(String(cString: strerror(number)))", place: executable,
                hint: hint)
        }
        return child
    }
}
