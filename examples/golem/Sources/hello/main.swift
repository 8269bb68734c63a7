import Foundation
import Golem

do {
    let plan = RentalPlan(image: .tag("golem/alpine:latest"), budget: 0.1)
    let requestor = Requestor(client: try GolemClient(), plan: plan)
    let greeting = try await requestor.run { pool in
        try await pool.withMachine { machine in
            let results = try await machine.runChecked(
                [.run("/bin/echo", arguments: ["Hello from", machine.providerName])], limit: .seconds(60))
            return results[0].stdout ?? ""
        }
    }
    print(greeting)
    for line in await requestor.expenses() { print("\(line.providerName): \(line.accepted) GLM, \(line.state)") }
} catch let error as GolemError {
    print(error)
    exit(error.exitCode)
}
