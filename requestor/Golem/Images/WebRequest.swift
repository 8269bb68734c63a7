import Foundation
import Synchronization

#if canImport(FoundationNetworking)
    import FoundationNetworking
#endif

/// A request to a server in the web, with or without TLS: the registry of images, or the place of an image.
package enum WebRequest {
    /// Sends a request and reads the answer. Redirects are followed.
    ///
    /// Throws `usage` for an address that is none, `malformed` for an answer of more than `maximumBytes`, and `io` for all
    /// that can go wrong on the way; `CancellationError` when the task is cancelled.
    package static func send(
        _ method: String, _ address: String, maximumBytes: Int, timeout: TimeInterval = 20
    ) async throws -> (status: Int, body: [UInt8]) {
        guard let url = URL(string: address), ["http", "https"].contains(url.scheme), url.host?.isEmpty == false else {
            throw GolemError(.usage, "this is no address of a web server", place: address)
        }
        var request = URLRequest(url: url, timeoutInterval: timeout)
        request.httpMethod = method
        let settings = URLSessionConfiguration.ephemeral
        settings.timeoutIntervalForResource = timeout
        let receiver = Receiver(maximumBytes: maximumBytes, place: address)
        let session = URLSession(configuration: settings, delegate: receiver, delegateQueue: nil)
        defer { session.invalidateAndCancel() }
        let task = session.dataTask(with: request)
        return try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in
                receiver.begin(continuation)
                task.resume()
            }
        } onCancel: {
            task.cancel()
        }
    }

    /// Gathers the answer, and stops where it becomes too long.
    private final class Receiver: NSObject, URLSessionDataDelegate, Sendable {
        private struct State {
            var continuation: CheckedContinuation<(status: Int, body: [UInt8]), any Error>?
            var status = 0
            var body: [UInt8] = []
            var isTooLong = false
        }

        private let state = Mutex(State())
        private let maximumBytes: Int
        private let place: String

        init(maximumBytes: Int, place: String) {
            self.maximumBytes = maximumBytes
            self.place = place
        }

        func begin(_ continuation: CheckedContinuation<(status: Int, body: [UInt8]), any Error>) {
            state.withLock { $0.continuation = continuation }
        }

        func urlSession(_ session: URLSession, dataTask: URLSessionDataTask, didReceive data: Data) {
            let status = (dataTask.response as? HTTPURLResponse)?.statusCode ?? 0
            let isTooLong = state.withLock { state in
                state.status = status
                state.isTooLong = state.isTooLong || data.count > maximumBytes - state.body.count
                if !state.isTooLong { state.body += data }
                return state.isTooLong
            }
            if isTooLong { dataTask.cancel() }
        }

        func urlSession(_ session: URLSession, task: URLSessionTask, didCompleteWithError error: (any Error)?) {
            let status = (task.response as? HTTPURLResponse)?.statusCode
            let (continuation, result) = state.withLock { state in
                let continuation = state.continuation
                state.continuation = nil
                let result: Result<(status: Int, body: [UInt8]), any Error> =
                    if state.isTooLong {
                        .failure(
                            GolemError(.malformed, "the answer is longer than \(maximumBytes) bytes", place: place))
                    } else if let error {
                        (error as? URLError)?.code == .cancelled
                            ? .failure(CancellationError())
                            : .failure(GolemError(.io, "the server does not answer", place: place, cause: error))
                    } else {
                        .success((status ?? state.status, state.body))
                    }
                return (continuation, result)
            }
            continuation?.resume(with: result)
        }
    }
}
