import Application
import ArgumentParser
import CommandLineSupport
import Foundation
import Tensors
import UserInterface

struct UICommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "ui",
        abstract: "Open the page: train, watch and try models in a browser.",
        discussion: """
            Prints the address with its token, opens it, and serves it until Ctrl-C. Runs that were started there go on \
            without it. Only this machine can reach it.

              deml ui
              deml ui --port 8080 --no-browser
            """)

    @Option(help: ArgumentHelp("Port; 0: any free one. (default: 7373, or a free one)", valueName: "n"))
    var port: Int?
    @Option(
        help: ArgumentHelp(
            "Address to listen on. Others than this machine's own can be reached by others, without encryption.",
            valueName: "address"))
    var host = "127.0.0.1"
    @Flag(help: "Do not open a browser.")
    var noBrowser = false

    func run() async throws {
        try await CommandErrors.reportedAsync {
            if let port, !(0...65_535).contains(port) {
                throw DeMLError(.usage, "--port is to be from 0 to 65535, not \(port)")
            }
            let page = UserInterface(Application.ofThisProcess, host: host, port: port)
            let opens = !noBrowser
            if page.isReachableByOthers {
                Output.standardError.line(
                    "warning: others can reach \(host), and what goes between is not encrypted, the token neither")
            }
            do {
                try await Interrupts.cancellingOnSignals {
                    Output.standardError.line("the page is closed; runs go on")
                } _: {
                    try await page.run { address in
                        Output.standard.line(address)
                        if opens { Browser.open(address) }
                    }
                }
            } catch is CancellationError {}
        }
    }
}

/// The person's browser, where there is one.
private enum Browser {
    static func open(_ address: String) {
        let environment = ProcessInfo.processInfo.environment
        guard environment["DISPLAY"] != nil || environment["WAYLAND_DISPLAY"] != nil else { return }
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = ["xdg-open", address]
        process.standardOutput = FileHandle.nullDevice
        process.standardError = FileHandle.nullDevice
        // Without a browser the address stands in the terminal.
        try? process.run()
    }
}
