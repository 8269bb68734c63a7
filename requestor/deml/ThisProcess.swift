import Application
import CommandLineSupport
import Foundation

extension Application {
    /// DeML as this process was started.
    static var ofThisProcess: Application {
        let executable = try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
        return Application(
            workingFolder: FileManager.default.currentDirectoryPath, executable: executable ?? CommandLine.arguments[0],
            environment: ProcessInfo.processInfo.environment)
    }
}
