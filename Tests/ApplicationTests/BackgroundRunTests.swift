import Application
import Federation
import Foundation
import Tensors
import Testing

/// Runs that are processes of their own, with a program that stands in for `deml`.
@Suite struct BackgroundRunTests {
    private func application(_ script: String) throws -> (Application, folder: String) {
        let folder = NSTemporaryDirectory() + "deml-background-" + UUID().uuidString
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        let program = folder + "/deml"
        try Files.writeAtomically(Array("#!/bin/sh\n\(script)\n".utf8), to: program)
        try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: program)
        let environment = ["PATH": "/usr/bin:/bin", "HOME": folder, "SAID": "by the environment"]
        return (Application(workingFolder: folder, executable: program, environment: environment), folder)
    }

    private func wait(_ what: String, _ holds: () -> Bool) async throws {
        for _ in 0..<600 where !holds() { try await Task.sleep(for: .milliseconds(50)) }
        #expect(holds(), "\(what)")
    }

    @Test func itHasASessionOfItsOwnAndStopsWhenAsked() async throws {
        let (application, folder) = try application(
            """
            trap 'echo it was asked to stop; trap "exit 99" INT; until [ -e twice ]; do sleep 0.05; done; exit 130' INT
            echo "session $(cut -d ' ' -f 6 /proc/$$/stat) of $$, $1 $3 $SAID"
            while :; do sleep 0.05; done
            """)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let runs = BackgroundRuns(application)
        let run = try runs.start(name: "mine", document: "{\"rounds\": 1}")
        #expect(run.path == folder + "/runs/mine")
        #expect(try Files.read(BackgroundRuns.request(of: run), maximumBytes: 100) == Array("{\"rounds\": 1}".utf8))
        try await wait("it prints") { runs.output(of: run).contains("session") }
        let words = runs.output(of: run).split(separator: " ")
        #expect(words.count > 3 && words[1] + "," == words[3], "\(words)")
        #expect(runs.output(of: run).contains("train --output by the environment"))
        #expect(runs.state(of: run) == .working)
        // Whoever comes later, as after a restart, finds it, too.
        let later = BackgroundRuns(application)
        #expect(later.state(of: run) == .working)
        #expect(throws: DeMLError.self) { try later.resume(run) }
        try later.stop(run)
        try await wait("it is told") { runs.output(of: run).contains("asked to stop") }
        // Twice is once.
        try later.stop(run)
        try Files.writeAtomically([], to: folder + "/twice")
        try await wait("it ends") { runs.state(of: run) == .ended(130) }
        #expect(runs.output(of: run).contains("asked to stop"))
        #expect(later.state(of: run) == nil)
        #expect(throws: DeMLError.self) { try later.stop(run) }
    }

    @Test func twoOfOneNameHaveTwoFolders() async throws {
        let (application, folder) = try application("exit 3")
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let runs = BackgroundRuns(application)
        let first = try runs.start(name: "mine", document: "{}")
        let second = try runs.start(name: "mine", document: "{}")
        #expect(first.path != second.path)
        try await wait("both end") { runs.state(of: first) == .ended(3) && runs.state(of: second) == .ended(3) }
    }

    @Test func whatCannotBeStartedLeavesNothing() throws {
        let (application, folder) = try application("")
        defer { try? FileManager.default.removeItem(atPath: folder) }
        try FileManager.default.removeItem(atPath: folder + "/deml")
        let error = #expect(throws: DeMLError.self) {
            try BackgroundRuns(application).start(name: "mine", document: "{}")
        }
        #expect(error?.hint?.contains("start deml ui again") == true)
        #expect(try Files.names(in: folder + "/runs") == [])
    }
}
