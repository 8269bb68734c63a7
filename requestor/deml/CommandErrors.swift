import ArgumentParser
import CommandLineSupport
import Federation
import Foundation
import Tensors

/// How an error reaches the person: what is wrong, where, what to do, and the exit code that sysexits.h gives it.
enum CommandErrors {
    /// Runs a command's body; whatever it throws is printed as one message on stderr and becomes the exit code.
    static func reported<Result>(_ body: () throws -> Result) throws -> Result {
        do { return try body() } catch { throw exit(after: error) }
    }

    static func reportedAsync<Result>(_ body: () async throws -> Result) async throws -> Result {
        do { return try await body() } catch { throw exit(after: error) }
    }

    private static func exit(after error: any Error) -> any Error {
        switch error {
        case is ExitCode, is CleanExit, is ValidationError:
            return error
        case let error as DeMLError:
            say(error.description)
            return ExitCode(error.exitCode)
        case let error as ConfigurationError:
            let count = error.problems.count
            let hint = "  hint: deml train --help tells every setting"
            if count == 1 {
                say("\(error.problems[0])\n\(hint)")
            } else {
                say(
                    "\(count) settings are wrong\n" + error.problems.map { "  \($0)" }.joined(separator: "\n")
                        + "\n\(hint)")
            }
            return ExitCode(64)
        case is CancellationError:
            say("stopped")
            return ExitCode(Interrupts.exitCode)
        default:
            say("\(error)")
            return ExitCode(70)
        }
    }

    /// One message on stderr, marked so that it is seen. It may name files that somebody else has named.
    static func say(_ message: String) {
        let paint = Paint(Terminal.current(of: STDERR_FILENO).hasColour)
        Output.standardError.write(paint("error:", .red, .bold) + " " + message.harmlessLines(maximum: 100_000) + "\n")
    }
}

/// A standard stream, written without buffering, so that what is printed before a crash is there.
struct Output: Sendable {
    let descriptor: Int32

    static let standard = Output(descriptor: STDOUT_FILENO)
    static let standardError = Output(descriptor: STDERR_FILENO)

    /// Writes everything, or gives up when the reader has gone (`deml … | head`).
    func write(_ text: String) {
        var text = text
        text.withUTF8 { bytes in
            var written = 0
            while written < bytes.count {
                let count = Foundation.write(descriptor, bytes.baseAddress! + written, bytes.count - written)
                if count > 0 { written += count } else if errno != EINTR { return }
            }
        }
    }

    func line(_ text: String = "") { write(text + "\n") }

    func lines(_ texts: [String]) { write(texts.map { $0 + "\n" }.joined()) }

    /// A value as JSON on one line, keys sorted.
    func json(_ value: some Encodable) throws {
        line(try RunJSON.line(value))
    }
}
