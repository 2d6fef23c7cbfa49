# Passed as CMAKE_PROJECT_INCLUDE when interfaces are built against the ROS 2
# wheels. The targets those export name include folders of the machine the
# wheels were built on, and CMake refuses a target whose include folder does not
# exist. This removes such folders once everything has been found. The headers
# they stood for (Python's and NumPy's) are added again by rosidl_generator_py.
cmake_language(DEFER CALL refdet_repair_imported_targets)

function(refdet_repair_imported_targets)
  get_property(targets DIRECTORY PROPERTY IMPORTED_TARGETS)
  foreach(target IN LISTS targets)
    get_target_property(folders ${target} INTERFACE_INCLUDE_DIRECTORIES)
    if(folders)
      set(present "")
      foreach(folder IN LISTS folders)
        if(NOT IS_ABSOLUTE "${folder}" OR EXISTS "${folder}")
          list(APPEND present "${folder}")
        endif()
      endforeach()
      set_target_properties(${target} PROPERTIES
        INTERFACE_INCLUDE_DIRECTORIES "${present}")
    endif()
  endforeach()
endfunction()
