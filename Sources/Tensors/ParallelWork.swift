import Synchronization

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#elseif canImport(Darwin)
    import Darwin
#endif

/// Processors that this process may run on: what a lease or a container leaves to it.
public func availableProcessors() -> Int {
    // Linux shows the mask as hexadecimal digits (proc(5)).
    let status = (try? Files.prefix(of: "/proc/self/status", count: 1 << 16)).map {
        String(decoding: $0, as: UTF8.self)
    }
    if let line = status?.split(separator: "\n").first(where: { $0.hasPrefix("Cpus_allowed:") }) {
        let count = line.dropFirst("Cpus_allowed:".count).reduce(0) { $0 + ($1.hexDigitValue ?? 0).nonzeroBitCount }
        if count > 0 { return max(1, min(count, sysconf(Int32(_SC_NPROCESSORS_ONLN)))) }
    }
    return max(1, sysconf(Int32(_SC_NPROCESSORS_ONLN)))
}

/// Runs `body` for 0 ..< count, each number once, on up to `threads` threads, the caller's among them, and returns when
/// all are done. Where a thread cannot be started, the others do its work.
package func inParallel(_ count: Int, threads: Int, _ body: @escaping @Sendable (Int) -> Void) {
    let helpers = min(threads, count) - 1
    guard helpers > 0 else {
        for index in 0..<max(count, 0) { body(index) }
        return
    }
    // `body` escapes, though threads end before this function does: `withoutActuallyEscaping` would put the path of this
    // file into the program, whose bytes must not depend on where it was built.
    let work = SharedWork(count: count, body: body)
    var started: [pthread_t] = []
    for _ in 0..<helpers {
        let argument = Unmanaged.passRetained(work)
        #if canImport(Darwin)
            var thread: pthread_t?
        #else
            var thread = pthread_t()
        #endif
        let status = pthread_create(&thread, nil, runSharedWork, argument.toOpaque())
        guard status == 0 else {
            argument.release()
            break
        }
        #if canImport(Darwin)
            if let thread { started.append(thread) }
        #else
            started.append(thread)
        #endif
    }
    work.run()
    for thread in started { pthread_join(thread, nil) }
}

private final class SharedWork: Sendable {
    private let next = Atomic(0)
    private let count: Int
    private let body: @Sendable (Int) -> Void

    init(count: Int, body: @escaping @Sendable (Int) -> Void) {
        self.count = count
        self.body = body
    }

    func run() {
        while true {
            let index = next.wrappingAdd(1, ordering: .relaxed).oldValue
            guard index < count else { return }
            body(index)
        }
    }
}

#if canImport(Darwin)
    private func runSharedWork(_ argument: UnsafeMutableRawPointer) -> UnsafeMutableRawPointer? {
        Unmanaged<SharedWork>.fromOpaque(argument).takeRetainedValue().run()
        return nil
    }
#else
    private func runSharedWork(_ argument: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? {
        if let argument { Unmanaged<SharedWork>.fromOpaque(argument).takeRetainedValue().run() }
        return nil
    }
#endif
