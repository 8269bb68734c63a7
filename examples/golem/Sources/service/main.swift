// Keeps a service up for some seconds and talks to it: `swift run service [SECONDS]`
//
// The service is a folder of values with a file that says it is ready. Half-way that file is taken away, as if the service
// had died: the health check sees it, and the service is started again.
import Foundation
import Golem

let seconds = CommandLine.arguments.dropFirst().first.flatMap(Int.init) ?? 20

func shell(_ script: String) -> Command { .run("/bin/sh", arguments: ["-c", script]) }

var service = ServicePlan { machine in
    try await machine.runChecked(
        [shell("mkdir -p /golem/work/values && echo yes >/golem/work/ready")], limit: .seconds(60))
} check: { machine in
    try await machine.runChecked([shell("exec /bin/cat /golem/work/ready")], limit: .seconds(30))
}
service.checkInterval = .seconds(1)
service.failuresAllowed = 2

do {
    let plan = RentalPlan(image: .tag("golem/alpine:latest"), budget: 0.5)
    let requestor = Requestor(client: try GolemClient(), plan: plan)
    let kept = service
    try await requestor.run { pool in
        try await pool.withService(kept, onEvent: { print($0) }) { instance in
            for second in 1...max(2, seconds) {
                let machine = try await instance.machine()
                let answer = try await machine.run(
                    [shell("echo value-\(second) >/golem/work/values/\(second) && ls /golem/work/values | wc -l")],
                    limit: .seconds(30))
                let count = answer.results.last?.stdout?.trimmingCharacters(in: .whitespacesAndNewlines) ?? "-"
                print("second \(second): \(count) values")
                if second == max(2, seconds) / 2 {
                    _ = try await machine.run([shell("exec /bin/rm /golem/work/ready")], limit: .seconds(30))
                }
                try await Task.sleep(for: .seconds(1))
            }
        }
    }
    for line in await requestor.expenses() { print("\(line.providerName): \(line.accepted) GLM, \(line.state)") }
} catch let error as GolemError {
    print(error)
    exit(error.exitCode)
}
