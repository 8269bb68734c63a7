import Federation
import Fleets
import GolemFleet
import Tensors

/// Makes the fleet that the settings ask for.
enum FleetChoice {
    static func make(_ plan: RunPlan, machines: MachineOptions) throws -> any Fleet {
        let configuration = plan.configuration
        switch configuration.machines.fleet {
        case .local:
            let given = machines.worker.map { Paths.resolved($0, from: Paths.workingFolder) }
            guard let worker = given ?? LocalFleet.findWorker(beside: Paths.executable) else {
                throw DeMLError(
                    .notFound, "deml-worker is neither beside deml nor in the folders of PATH",
                    hint: "swift build -c release --product deml-worker, or name it by --worker")
            }
            return try LocalFleet(worker: worker, configuration: configuration)
        case .simulated:
            return SimulatedFleet(threads: configuration.machines.parallel)
        case .golem:
            return try GolemFleet.make(configuration)
        }
    }
}
