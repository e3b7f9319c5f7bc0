// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {Disputes} from "../../src/Disputes.sol";
import {Judge} from "../../src/Judge.sol";
import {Market} from "../../src/Market.sol";
import {ModelRegistry} from "../../src/ModelRegistry.sol";
import {PartJudge} from "../../src/PartJudge.sol";
import {DigitStore} from "../../src/examples/DigitStore.sol";
import {RevertingConsumer} from "../../src/examples/RevertingConsumer.sol";
import {Test} from "../Vm.sol";

/// @title The committed artifacts are what the sources compile to
/// @notice After a change of a contract run `scripts/artifacts.sh`.
contract ArtifactsTest is Test {
    function test_judge() public view {
        _hold("Judge", type(Judge).creationCode);
        _hold("PartJudge", type(PartJudge).creationCode);
    }

    function test_registry() public view {
        _hold("ModelRegistry", type(ModelRegistry).creationCode);
    }

    function test_market() public view {
        _hold("Market", type(Market).creationCode);
    }

    function test_disputes() public view {
        _hold("Disputes", type(Disputes).creationCode);
    }

    function test_examples() public view {
        _hold("DigitStore", type(DigitStore).creationCode);
        _hold("RevertingConsumer", type(RevertingConsumer).creationCode);
    }

    function _hold(string memory name, bytes memory compiled) private view {
        string memory json = vm.readFile(string.concat("artifacts/", name, ".json"));
        bytes memory committed = vm.parseJsonBytes(json, ".bytecode");
        vm.assertTrue(keccak256(committed) == keccak256(compiled), string.concat("run scripts/artifacts.sh: ", name));
    }
}
