import Application
import CProcess
import CommandLineSupport
import Foundation
import Tensors

/// Every machine that works holds some connections to the daemon, and the usual limit of 1,024 open files is met by some
/// hundred machines: it is raised to what this process is allowed.
enum OpenFiles {
    static func raiseLimit() {
        var limit = rlimit()
        #if canImport(Glibc)
            let resource = __rlimit_resource_t(RLIMIT_NOFILE.rawValue)
        #else
            let resource = RLIMIT_NOFILE
        #endif
        guard getrlimit(resource, &limit) == 0 else { return }
        // More than a system gives would be refused; more than this is never needed.
        let wanted = min(limit.rlim_max, 65_536)
        guard limit.rlim_cur < wanted else { return }
        limit.rlim_cur = wanted
        _ = setrlimit(resource, &limit)
    }
}

/// glibc keeps what was freed for the thread that freed it, in up to eight arenas for each processor. The report of a run is
/// written by one thread of the concurrency pool after the other, and each arena kept what the longest report took: 135 MB
/// after 2,000 rounds, growing. One for each processor is enough for threads not to wait.
enum Allocator {
    static func limitArenas() {
        process_limit_arenas(Int32(clamping: availableProcessors()))
    }
}

extension Application {
    /// DeML as this process was started.
    static var ofThisProcess: Application {
        OpenFiles.raiseLimit()
        let executable = try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
        return Application(
            workingFolder: FileManager.default.currentDirectoryPath, executable: executable ?? CommandLine.arguments[0],
            environment: ProcessInfo.processInfo.environment)
    }
}
