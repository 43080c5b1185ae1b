#pragma once
// Measured choices of implementations on disk: ${XDG_CACHE_HOME:-~/.cache}/libengine/plans-v1-<name>.json. A file that
// cannot be read, or is not one of ours, costs a new measurement and nothing else.
#include <map>
#include <string>

namespace engine {

using PlanChoices = std::map<std::string, std::string>;  // problem -> implementation

// `format` names what the choices are about and is checked on the way back.
std::string plans_to_json(const std::string& format, const PlanChoices& choices);
// False if the text is something else; `choices` is then left alone.
bool plans_from_json(const std::string& format, const std::string& json, PlanChoices& choices);

// Empty if there is no home.
std::string plan_cache_file(const std::string& name);
PlanChoices read_plan_cache(const std::string& file, const std::string& format);
// Written under another name and renamed, so that two processes never read a half of it. Without a writable folder the
// choices live as long as the process.
void write_plan_cache(const std::string& file, const std::string& format, const PlanChoices& choices);

}  // namespace engine
